package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// No key, right or wrong, and nothing that callers ask about reaches the log,
// at any level, whichever way it comes in.
func TestNoSecretsInLogs(t *testing.T) {
	r := newRig(t, withKeys)
	var log lockedBuffer
	r.log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.fill(3)
	const path = "/v1/videos/v1/similar"
	r.call("GET", path, "", "Authorization", "Bearer r-secret").want(200)
	r.call("GET", path, "", "X-Api-Key", "w-secret").want(403)
	r.call("GET", path, "", "Authorization", "Bearer wrong-secret").want(401)
	r.call("GET", path, "", "Authorization", "Basic dXNlcjpzZWNyZXQ=").want(401)
	r.call("GET", path+"?key=query-secret", "", "X-Api-Key", "r-secret").want(400)
	r.call("POST", "/v1/similar", `{"positive":[{"video":{"title":"title-secret"}}],"key":"body-secret"}`, "X-Api-Key", "r-secret").want(400)
	r.call("POST", "/v1/videos", `{"id":"x","title":"event-secret"}`, "X-Api-Key", "w-secret", "Idempotency-Key", "idem-secret").want(202)
	text := log.String()
	if strings.Count(text, `"msg":"request"`) != 7 {
		t.Fatalf("the log lacks calls:\n%s", text)
	}
	for _, secret := range []string{"secret", "dXNlcjpzZWNyZXQ=", HashKey("r-secret"), "for tests"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
}
