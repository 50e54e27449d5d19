// Command receiver does the receiver's work in Go, for a limit to compare with: the same checks, the same
// rows, group commit by BatchWriteItem, and signed requests.
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	batchItems = 25
	inFlight   = 4
	deadline   = 900 * time.Millisecond
)

type reading struct {
	DeviceID  string      `json:"deviceId"`
	Temp      json.Number `json:"temp"`
	TS        *string     `json:"ts"`
	MessageID string      `json:"messageId"`
}

// envelope is what the rule forwards: the payload in base64, which encoding/json decodes, and who published it.
type envelope struct {
	Payload  []byte `json:"iot_payload"`
	ClientID string `json:"iot_client_id"`
}

type row struct {
	put  []byte
	done chan error
}

var (
	listen   = flag.String("listen", "127.0.0.1:8080", "address to listen on")
	endpoint = flag.String("endpoint", "http://127.0.0.1:9001/", "DynamoDB")
	table    = flag.String("table", "telemetry", "the table")
	secret   = flag.String("secret", "", "the value of X-Iot-Secret")
	queue    = make(chan row, 10_000)
	client   = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}, Timeout: 400 * time.Millisecond}
)

func main() {
	flag.Parse()
	for range inFlight {
		go commit()
	}
	http.HandleFunc("POST /ingest", ingest)
	log.Fatal(http.ListenAndServe(*listen, nil))
}

func ingest(answer http.ResponseWriter, request *http.Request) {
	if subtle.ConstantTimeCompare([]byte(request.Header.Get("X-Iot-Secret")), []byte(*secret)) != 1 {
		http.Error(answer, "", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, 524_289))
	if err != nil || len(body) > 524_288 {
		http.Error(answer, "", http.StatusRequestEntityTooLarge)
		return
	}
	readings, err := parse(body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	received := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	rows := make([]row, len(readings))
	for index, each := range readings {
		put, err := item(each, received)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		rows[index] = row{put, make(chan error, 1)}
	}
	ctx, cancel := context.WithTimeout(request.Context(), deadline)
	defer cancel()
	for _, each := range rows {
		select {
		case queue <- each:
		default:
			http.Error(answer, "", http.StatusServiceUnavailable)
			return
		}
	}
	for _, each := range rows {
		select {
		case err := <-each.done:
			if err != nil {
				http.Error(answer, "", http.StatusServiceUnavailable)
				return
			}
		case <-ctx.Done():
			http.Error(answer, "", http.StatusServiceUnavailable)
			return
		}
	}
	answer.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(answer, `{"stored":%d}`, len(rows))
}

func parse(body []byte) ([]reading, error) {
	envelopes := make([]envelope, 1)
	var err error
	if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 16)]), " \t\r\n"), "[") {
		err = json.Unmarshal(body, &envelopes)
	} else {
		err = json.Unmarshal(body, &envelopes[0])
	}
	if err != nil {
		return nil, err
	}
	readings := make([]reading, len(envelopes))
	for index, each := range envelopes {
		if err := json.Unmarshal(each.Payload, &readings[index]); err != nil {
			return nil, err
		}
		if readings[index].DeviceID != each.ClientID {
			return nil, errors.New("another device's reading")
		}
	}
	return readings, nil
}

func item(message reading, received string) ([]byte, error) {
	if message.DeviceID == "" || len(message.DeviceID) > 128 || message.Temp == "" {
		return nil, errors.New("no reading")
	}
	at := received
	if message.TS != nil {
		moment, err := time.Parse(time.RFC3339Nano, *message.TS)
		if err != nil {
			return nil, err
		}
		at = moment.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	identity := message.MessageID
	if identity == "" {
		sum := sha256.Sum256([]byte(message.DeviceID + "\x00" + string(message.Temp) + "\x00" + at))
		identity = hex.EncodeToString(sum[:16])
	}
	device, err := json.Marshal(message.DeviceID)
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal(at + "#" + identity)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"PutRequest":{"Item":{"deviceId":{"S":%s},"Time":{"S":%s},"temperature":{"N":"%s"},"received_at":{"S":"%s"}}}}`,
		device, key, message.Temp, received), nil
}

// commit takes what waits, at most a batch, and writes it.
func commit() {
	for first := range queue {
		batch := []row{first}
	gather:
		for len(batch) < batchItems {
			select {
			case next := <-queue:
				batch = append(batch, next)
			default:
				break gather
			}
		}
		err := write(batch)
		for _, each := range batch {
			each.done <- err
		}
	}
}

func write(batch []row) error {
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"RequestItems":{%q:[`, *table)
	for index, each := range batch {
		if index > 0 {
			body.WriteByte(',')
		}
		body.Write(each.put)
	}
	body.WriteString("]}}")
	request, err := http.NewRequest("POST", *endpoint, bytes.NewReader(body.Bytes()))
	if err != nil {
		return err
	}
	sign(request, body.Bytes())
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var left struct{ UnprocessedItems map[string][]any }
	if response.StatusCode != 200 || json.Unmarshal(answer, &left) != nil || len(left.UnprocessedItems) > 0 {
		return errors.New(response.Status)
	}
	return nil
}

// sign adds AWS's signature, version 4.
func sign(request *http.Request, body []byte) {
	moment := time.Now().UTC().Format("20060102T150405Z")
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Date", moment)
	request.Header.Set("X-Amz-Target", "DynamoDB_20120810.BatchWriteItem")
	region := os.Getenv("AWS_REGION")
	scope := moment[:8] + "/" + region + "/dynamodb/aws4_request"
	signed := "content-type;host;x-amz-date;x-amz-target"
	canonical := fmt.Sprintf("POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:%s\nx-amz-date:%s\n"+
		"x-amz-target:DynamoDB_20120810.BatchWriteItem\n\n%s\n%x", request.URL.Host, moment, signed, sha256.Sum256(body))
	key := []byte("AWS4" + os.Getenv("AWS_SECRET_ACCESS_KEY"))
	for _, part := range []string{moment[:8], region, "dynamodb", "aws4_request"} {
		key = mac(key, part)
	}
	text := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", moment, scope, sha256.Sum256([]byte(canonical)))
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		os.Getenv("AWS_ACCESS_KEY_ID"), scope, signed, mac(key, text)))
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}
