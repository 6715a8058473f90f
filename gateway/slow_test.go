package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A caller that sends a byte now and then holds a connection for as long as
// the settings say, whether it dawdles in the header or in the body.
func TestSlowCallersAreCutOff(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.HeaderTimeout, c.Timeout, c.StreamTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	})
	address := serveRig(t, r)
	for _, c := range []struct {
		name, head string
		status     int // 0: the connection ends without an answer
	}{
		{"header", "GET /v1/videos/v1 HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 0},
		{"JSON body", "POST /v1/similar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 408},
		{"label file", "POST /v1/evaluations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 408},
		{"event", "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 408},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			start := time.Now()
			_ = conn.SetDeadline(start.Add(10 * time.Second))
			fmt.Fprint(conn, c.head)
			go func() {
				for time.Since(start) < 8*time.Second {
					if _, err := conn.Write([]byte(" ")); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("held for %s", took)
			}
			if c.status == 0 {
				if err == nil {
					t.Errorf("answered %s", res.Status)
				}
				return
			}
			if err != nil || res.StatusCode != c.status {
				t.Fatalf("%v %v, want %d", res, err, c.status)
			}
			if body, err := io.ReadAll(res.Body); err != nil || len(body) == 0 {
				t.Errorf("no problem in the answer: %q %v", body, err)
			}
		})
	}
}
