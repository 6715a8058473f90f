// Package query is what the gateway's questions mean, free of HTTP.
//
// The path of a question:
//
//	input.go    ids, contents and embeddings become vectors (fetched, embedded, checked)
//	vectors.go  a query by one id whose vector is known already: one search
//	vector.go   several vectors become one direction
//	similar.go  the direction becomes hits, hits become a page of results
//	pairs.go    two inputs become a cosine, a cosine a score
//	page.go     a page leaves a signed token for the next; token.go its bytes
//	plane.go    many vectors become a picture
//	explain.go  a cosine becomes the sum of its terms
//	timings.go  where the time of a question went, left in its context
//
// An Engine answers for one model only: its fingerprint goes with every
// request for an embedding, and its index holds that model's vectors alone.
package query
