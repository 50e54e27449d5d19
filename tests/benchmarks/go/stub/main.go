// Command stub answers DynamoDB's writes after a given time and holds nothing.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to listen on")
	latency := flag.Duration("latency", 5*time.Millisecond, "time to answer a write")
	flag.Parse()

	var items, calls atomic.Int64
	http.HandleFunc("POST /", func(answer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		time.Sleep(*latency)
		written := 1
		if request.Header.Get("X-Amz-Target") == "DynamoDB_20120810.BatchWriteItem" {
			written = bytes.Count(body, []byte(`"PutRequest"`))
		}
		items.Add(int64(written))
		calls.Add(1)
		answer.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if written == 1 && request.Header.Get("X-Amz-Target") == "DynamoDB_20120810.PutItem" {
			io.WriteString(answer, "{}")
			return
		}
		io.WriteString(answer, `{"UnprocessedItems":{}}`)
	})
	http.HandleFunc("GET /count", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(answer, `{"items":%d,"calls":%d}`, items.Load(), calls.Load())
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
