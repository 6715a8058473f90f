package trainer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
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

// evaluateByGateway has a running gateway score the labels: POST
// /v1/evaluations says what counts, and POST /v1/similarity, once for each of
// its columns, gives the numbers of every pair.
func evaluateByGateway(ctx context.Context, cfg EvaluateConfig) (Evaluation, error) {
	ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	var e Evaluation
	pairs, err := readPairs(cfg.Labels)
	if err != nil {
		return e, err
	}
	labels, err := os.Open(cfg.Labels)
	if err != nil {
		return e, err
	}
	defer labels.Close()
	answer, err := askGateway(ctx, cfg, "/v1/evaluations", labels)
	if err != nil {
		return e, err
	}
	defer answer.Body.Close()
	if e.Result, err = readEvaluation(answer.Body); err != nil {
		return e, err
	}
	pairs, _ = eval.Distinct(pairs)
	cosines, model, err := streamPairs(ctx, cfg, pairs, "cosine")
	if err != nil {
		return e, err
	}
	scores, again, err := streamPairs(ctx, cfg, pairs, "score")
	if err != nil {
		return e, err
	}
	if model != again {
		return e, errs.New(errs.Unavailable, "the gateway changed from model %s to %s meanwhile: evaluate again", model, again)
	}
	e.model.Fingerprint = model
	for i, p := range pairs {
		if !math.IsNaN(cosines[i]) && !math.IsNaN(scores[i]) {
			e.Scored, e.Labels = append(e.Scored, p), append(e.Labels, p.Label)
			e.Cosines, e.Scores = append(e.Cosines, cosines[i]), append(e.Scores, scores[i])
		}
	}
	return e, nil
}

// askGateway posts tab-separated lines to a path of the gateway. An answer that
// is no success is an error.
func askGateway(ctx context.Context, cfg EvaluateConfig, path string, lines io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(cfg.Gateway, "/")+path, lines)
	if err != nil {
		return nil, errs.Field("gateway", "expected an address like http://127.0.0.1:8080: %w", err)
	}
	request.Header.Set("Content-Type", "text/tab-separated-values")
	if cfg.APIKey != "" {
		request.Header.Set("Authorization", "Bearer "+cfg.APIKey)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "ask the gateway: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, problem(response)
	}
	return response, nil
}

// streamPairs returns a number for every pair, NaN where a video is missing,
// and the fingerprint of the model that made them. The lines go out while the
// answer comes in.
func streamPairs(ctx context.Context, cfg EvaluateConfig, pairs []eval.Pair, column string) (numbers []float64, model string, err error) {
	in, out := io.Pipe()
	defer in.Close() // ends the writer if the gateway has not taken everything
	go func() {
		w := bufio.NewWriter(out)
		for _, p := range pairs {
			fmt.Fprintf(w, "%s\t%s\n", p.A, p.B)
		}
		out.CloseWithError(w.Flush())
	}()
	answer, err := askGateway(ctx, cfg, "/v1/similarity?column="+column, in)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	numbers, err = readScores(answer.Body, pairs)
	return numbers, answer.Header.Get("Videosim-Model"), err
}

// readScores reads lines "id TAB id TAB number", one for each of pairs.
func readScores(body io.Reader, pairs []eval.Pair) ([]float64, error) {
	numbers := make([]float64, 0, len(pairs))
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Split(line, "\t")
		if fields[0] == "#error" {
			return nil, errs.New(errs.Unavailable, "the gateway broke off: %s", line)
		}
		i := len(numbers)
		if i == len(pairs) || len(fields) != 3 || fields[0] != pairs[i].A || fields[1] != pairs[i].B {
			return nil, errs.New(errs.Internal, "the gateway's line %d is not about pair %d of %d: %.100q", i+1, i+1, len(pairs), line)
		}
		number := math.NaN()
		if fields[2] != "" {
			var err error
			if number, err = strconv.ParseFloat(fields[2], 64); err != nil {
				return nil, errs.New(errs.Internal, "the gateway's line %d: expected a number, found %.40q", i+1, fields[2])
			}
		}
		numbers = append(numbers, number)
	}
	if err := lines.Err(); err != nil {
		return nil, errs.New(errs.Unavailable, "read the gateway's answer: %w", err)
	}
	if len(numbers) != len(pairs) {
		return nil, errs.New(errs.Internal, "the gateway scored %d of %d pairs", len(numbers), len(pairs))
	}
	return numbers, nil
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
