package gateway

import (
	"net/http"
	"testing"
)

// A name that a page elsewhere points at this machine opens nothing.
func TestForeignHostNames(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hosts = []string{"videos.example"} })
	r.fill(3)
	ask := func(host string) int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/v1/videos/v1/similar", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost": 200, "LOCALHOST:1": 200, "localhost.": 200, "a.localhost:80": 200, "[::1]:8080": 200, "10.0.0.7": 200,
		"videos.example": 200, "Videos.Example:443": 200,
		"evil.example": 421, "127.0.0.1.evil.example:8080": 421, "localhost.evil.example": 421, "xvideos.example": 421,
	} {
		if got := ask(host); got != want {
			t.Errorf("Host %s: %d, want %d", host, got, want)
		}
	}
}

func TestHostsOfAPublicAddress(t *testing.T) {
	s := Settings{Listen: "0.0.0.0:8080"}
	if !s.answersTo("anything.example") {
		t.Error("a gateway that is not on loopback and names no hosts refuses one")
	}
	s.Hosts = []string{"videos.example"}
	if s.answersTo("anything.example") || !s.answersTo("videos.example:8080") {
		t.Error("hosts are not honoured")
	}
}
