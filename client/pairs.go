package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
)

const contentPairs = "text/tab-separated-values"

// Pairs streams lines "id1 TAB id2 [TAB label]", a label.tsv for instance, and
// yields the cosine of each pair as it comes, nil where a video is not indexed.
// Nothing is kept, whatever the length; lines cannot be sent twice, so nothing
// is tried again. It ends with the first error.
func (c *Client) Pairs(ctx context.Context, lines io.Reader) iter.Seq2[PairScore, error] {
	return c.pairs(ctx, lines, "cosine")
}

// PairScores is Pairs with the score in place of the cosine.
func (c *Client) PairScores(ctx context.Context, lines io.Reader) iter.Seq2[PairScore, error] {
	return c.pairs(ctx, lines, "score")
}

func (c *Client) pairs(ctx context.Context, lines io.Reader, column string) iter.Seq2[PairScore, error] {
	return func(yield func(PairScore, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // a caller that has enough ends the stream
		res, err := c.send(ctx, http.MethodPost, "/v1/similarity?column="+column, io.NopCloser(lines), contentPairs, nil)
		if err != nil {
			yield(PairScore{}, err)
			return
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			yield(PairScore{}, problemOf(res))
			return
		}
		scanner := bufio.NewScanner(res.Body)
		for scanner.Scan() {
			score, err := pairOf(scanner.Text(), column)
			if !yield(score, err) || err != nil {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(PairScore{}, fmt.Errorf("read scores: %w", err))
		}
	}
}

// pairOf reads a line of the answer.
func pairOf(line, column string) (PairScore, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return PairScore{}, fmt.Errorf("read scores: expected three fields, found %q", line)
	}
	if fields[0] == "#error" { // the stream broke on the way
		return PairScore{}, &Problem{Type: fields[1], Title: "the stream broke", Status: http.StatusOK, Detail: fields[2]}
	}
	out := PairScore{A: fields[0], B: fields[1]}
	if fields[2] == "" {
		return out, nil
	}
	number, err := strconv.ParseFloat(fields[2], 64)
	if err != nil {
		return PairScore{}, fmt.Errorf("read scores: %w", err)
	}
	if column == "score" {
		out.Score = &number
	} else {
		out.Cosine = &number
	}
	return out, nil
}

// Evaluate compares scores with the labels of a label.tsv.
func (c *Client) Evaluate(ctx context.Context, lines io.Reader) (*Evaluation, error) {
	return c.EvaluatePoints(ctx, lines, 0)
}

// EvaluatePoints also returns up to that many of the pairs, at most 4,000,
// spread over the file: a scatter plot.
func (c *Client) EvaluatePoints(ctx context.Context, lines io.Reader, points int) (*Evaluation, error) {
	res, err := c.send(ctx, http.MethodPost, fmt.Sprintf("/v1/evaluations?points=%d", points), io.NopCloser(lines), contentPairs, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, problemOf(res)
	}
	out := &Evaluation{}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return nil, errors.Join(errors.New("read the evaluation"), err)
	}
	return out, nil
}
