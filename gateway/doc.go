// Package gateway answers questions about videos over HTTP: which are like
// this one, and how alike are these two. It publishes events for callers who
// have no NATS client, and serves a page for people at /.
//
// The path of a query, POST /v1/similar, file by file:
//
//	server.go      Run: configuration → index, bus, progress → socket, and the way back
//	routes.go      what every call passes, in order, and which handler a path has
//	middleware.go  request id, access log, panics, headers, deadline
//	hosts.go       the name that the call came under
//	auth.go        the key and its scope; keysfile.go keys that come and go
//	limits.go      the free slot, the key's rate and its share of the slots
//	decode.go      the body, strictly; wire.go its inputs and filter, checked
//	fresh.go       the wait for min_sequence; indexed_sequence
//	similar.go     the request becomes a query.Similar, the page an answer
//	query/         what the question means, without HTTP (see its own doc)
//	timing.go      Server-Timing of every answer in JSON; the parts are timed where they happen
//	problem.go     an error becomes an RFC 9457 problem, once, here
//
// Other calls differ in their handler alone: batch.go, similarity.go with
// stream.go and outlet.go (lines of pairs), evaluate.go, embeddings.go,
// explain.go, atlas.go (the map), videos.go with published.go and catalogue.go
// (publishing, its repetitions, and what became of it). Beside the queries,
// meter/ measures recall and drift; ui/ is the page; the package client asks
// from Go.
//
// Promises:
//   - Answers never mix models: one gateway serves one fingerprint, and names it.
//   - A request that names a model is answered by that one or with a 409.
//   - The pages of a list have one indexed_sequence, that of the first.
//   - indexed_sequence is read before the index is, so an answer has seen at
//     least what it says; min_sequence is honoured or answered with a 504.
//   - The cosine of a pair is eval.Cosine of the stored embeddings, in every
//     call that shows one.
//   - Input is decoded strictly: what is not understood is refused with the
//     field at fault, never ignored.
//   - Every call has a deadline, every list a cap, and a stream of pairs the
//     memory of one chunk.
//
// A query from a shell:
//
//	curl -s localhost:8080/v1/similar -d '{"positive":["v1",{"video":{"title":"猫"}}],"negative":["v2"],"k":3}'
package gateway
