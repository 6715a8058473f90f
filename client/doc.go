// Package client asks a gateway from Go: which videos are like this one, how
// alike are these two, and what became of a publish.
//
//	c, err := client.New("https://videos.example", client.WithKey(key))
//	answer, err := c.Similar(ctx, client.Query{Positive: []client.Input{client.ID("v1")}, K: 10})
//
// client.go holds the connection and its retries, calls.go the calls, pairs.go
// the streams of pairs, types.go what goes over the wire.
//
// A call is tried again, with growing pauses and never before Retry-After,
// when the gateway answers 429 or 503, a proxy 502 or 504, or nobody at all;
// not beyond the end of its context, whose deadline the gateway is told. Each
// try has at most 30 s (WithTimeout). Publishing carries an Idempotency-Key of
// its own, so that a repetition is no second publish. Every other failure is a
// *Problem:
//
//	var problem *client.Problem
//	if errors.As(err, &problem) && problem.Status == 404 { … problem.MissingIDs … }
//
// All walks the pages of a query, Pairs and PairScores a file of any length;
// Await waits until queries see what was published.
package client
