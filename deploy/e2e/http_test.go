package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

type answer struct {
	Results []struct {
		ID     string  `json:"id"`
		Cosine float64 `json:"cosine"`
	} `json:"results"`
	Model           string `json:"model"`
	IndexedSequence uint64 `json:"indexed_sequence"`
}

type state struct {
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Sequence uint64 `json:"sequence"`
	Indexed  uint64 `json:"indexed_version"`
}

type evaluation struct {
	Spearman float64 `json:"spearman"`
	Pairs    int     `json:"pairs"`
}

// statusError is an answer that is no success.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.body) }

// statusOf is the HTTP status of a failed call, 0 without one.
func statusOf(err error) int {
	var e *statusError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

func (s *suite) get(path string, into any) error {
	return s.call(http.MethodGet, path, "", nil, into)
}

func (s *suite) post(path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.call(http.MethodPost, path, "application/json", bytes.NewReader(data), into)
}

// evaluate posts pairs with labels in the form of label.tsv.
func (s *suite) evaluate(pairs [][2]string, labels []float64) (evaluation, error) {
	var tsv strings.Builder
	for i, p := range pairs {
		fmt.Fprintf(&tsv, "%s\t%s\t%v\n", p[0], p[1], labels[i])
	}
	var e evaluation
	return e, s.call(http.MethodPost, "/v1/evaluations", "text/tab-separated-values", strings.NewReader(tsv.String()), &e)
}

func (s *suite) call(method, path, contentType string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(s.ctx, method, s.gateway+path, body)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return &statusError{res.StatusCode, string(data)}
	}
	return json.Unmarshal(data, into)
}
