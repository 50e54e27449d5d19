// Command load posts messages over many connections, as fast as they are answered or at a given rate, and
// prints what came of it as JSON. It writes prepared bytes to the sockets, so as to cost little itself.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	target      = flag.String("target", "127.0.0.1:8080", "address of the receiver")
	secret      = flag.String("secret", "", "the value of X-Iot-Secret")
	connections = flag.Int("connections", 64, "connections")
	array       = flag.Int("array", 0, "messages in an array; 0: one message, and no array")
	rate        = flag.Float64("rate", 0, "requests a second; 0: as fast as they are answered")
	envelope    = flag.Bool("envelope", false, "send messages as the rule forwards them; else as SELECT * does")
	duration    = flag.Duration("duration", 5*time.Second, "how long")
	sequence    atomic.Int64
)

type result struct {
	latencies []time.Duration
	statuses  map[int]int
	failures  int
}

func main() {
	flag.Parse()
	end := time.Now().Add(*duration)
	due := make(chan time.Time, 1<<20)
	if *rate > 0 {
		go pace(due, end)
	}
	results := make([]result, *connections)
	var group sync.WaitGroup
	started := time.Now()
	for index := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			results[index] = client(index, end, due)
		}()
	}
	group.Wait()
	report(results, time.Since(started))
}

// pace gives out the moments at which requests are due, however late the answers are (an open loop).
func pace(due chan<- time.Time, end time.Time) {
	next := time.Now()
	for next.Before(end) {
		time.Sleep(time.Until(next))
		due <- next
		next = next.Add(time.Duration(rand.ExpFloat64() / *rate * float64(time.Second)))
	}
	close(due)
}

func client(index int, end time.Time, due <-chan time.Time) result {
	out := result{statuses: map[int]int{}}
	connection, err := net.Dial("tcp", *target)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		began := time.Now()
		if *rate > 0 {
			var open bool
			if began, open = <-due; !open {
				return out
			}
		} else if !began.Before(end) {
			return out
		}
		if _, err := connection.Write(request(index)); err != nil {
			out.failures++
			return out
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			out.failures++
			return out
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		out.statuses[response.StatusCode]++
		out.latencies = append(out.latencies, time.Since(began))
	}
}

func request(index int) []byte {
	var body string
	if *array == 0 {
		body = message(index)
	} else {
		messages := make([]string, *array)
		for place := range messages {
			messages[place] = message(index)
		}
		body = "[" + strings.Join(messages, ",") + "]"
	}
	return []byte(fmt.Sprintf("POST /ingest HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Iot-Secret: %s\r\n"+
		"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"+
		"Content-Length: %d\r\n\r\n%s", *target, *secret, len(body), body))
}

func message(index int) string {
	number := sequence.Add(1)
	now := time.Now().UTC()
	payload := fmt.Sprintf(`{"deviceId":"thing-%04d","temp":%d.%02d,"ts":"%s","messageId":"%08x-%08x"}`,
		index, 15+number%15, number%100, now.Format("2006-01-02T15:04:05.000Z"), now.Unix(), number)
	if !*envelope {
		return payload
	}
	return fmt.Sprintf(`{"iot_payload":"%s","iot_received_at":%d,"iot_trace_id":"1f0e2d3c-4b5a-6978-8796-%012x","iot_client_id":"thing-%04d"}`,
		base64.StdEncoding.EncodeToString([]byte(payload)), now.UnixMilli(), number, index)
}

func report(results []result, took time.Duration) {
	statuses := map[int]int{}
	var latencies []time.Duration
	failures := 0
	for _, each := range results {
		latencies = append(latencies, each.latencies...)
		failures += each.failures
		for status, count := range each.statuses {
			statuses[status] += count
		}
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return float64(latencies[int(share*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	per := max(1, *array)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(latencies), "messages": statuses[200] * per, "statuses": statuses, "failures": failures,
		"seconds": took.Seconds(), "messages_per_second": float64(statuses[200]*per) / took.Seconds(),
		"p50_ms": at(0.5), "p99_ms": at(0.99),
	})
}
