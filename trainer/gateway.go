package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"videosim/shared/errs"
	"videosim/shared/eval"
)

// gatewayTimeout bounds one evaluation by a gateway: it scores 68,000 pairs in
// seconds, and a hung one should not hang us.
const gatewayTimeout = 10 * time.Minute

// maxProblemBytes is how much of a gateway's complaint is read.
const maxProblemBytes = 64 << 10

// askGateway has a running gateway score the labels: POST /v1/evaluations.
func askGateway(ctx context.Context, cfg EvaluateConfig) (eval.Result, error) {
	labels, err := os.Open(cfg.Labels)
	if err != nil {
		return eval.Result{}, err
	}
	defer labels.Close()
	ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	url := strings.TrimSuffix(cfg.Gateway, "/") + "/v1/evaluations"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, labels)
	if err != nil {
		return eval.Result{}, errs.Field("gateway", "expected an address like http://127.0.0.1:8080: %w", err)
	}
	request.Header.Set("Content-Type", "text/tab-separated-values")
	if cfg.APIKey != "" {
		request.Header.Set("Authorization", "Bearer "+cfg.APIKey)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return eval.Result{}, errs.New(errs.Unavailable, "ask the gateway: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return eval.Result{}, problem(response)
	}
	return readEvaluation(response.Body)
}

// readEvaluation reads the gateway's answer. It has null where the coefficient
// is undefined.
func readEvaluation(body io.Reader) (eval.Result, error) {
	var answer struct {
		Spearman   *float64 `json:"spearman"`
		Pairs      int      `json:"pairs"`
		Missing    int      `json:"missing"`
		MissingIDs []string `json:"missing_ids"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return eval.Result{}, errs.New(errs.Internal, "read the gateway's answer: %w", err)
	}
	r := eval.Result{Spearman: math.NaN(), Pairs: answer.Pairs, Missing: answer.Missing, MissingIDs: answer.MissingIDs}
	if answer.Spearman != nil {
		r.Spearman = *answer.Spearman
	}
	return r, nil
}

// problem turns an RFC 9457 answer into an error with the kind of its status.
func problem(response *http.Response) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes))
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	said := strings.TrimSpace(fmt.Sprint(p.Title, ": ", p.Detail))
	if err != nil {
		said = strings.TrimSpace(string(body))
	}
	kind := errs.Internal
	for _, k := range []errs.Kind{errs.Invalid, errs.NotFound, errs.Overloaded, errs.Unavailable} {
		if errs.PolicyOf(k).HTTP == response.StatusCode {
			kind = k
		}
	}
	return errs.New(kind, "the gateway answered %s: %s", response.Status, said)
}
