// Package vecdb keeps the embeddings of one model and finds the most similar
// ones.
//
// [Index] has two implementations with the same behaviour, held to it by the
// conformance suite in vecdbtest: [Exact] compares every row in this process
// (exact*.go, kernel*.go, memory*.go), [Milvus] uses a Milvus server
// (milvus*.go). [Open] chooses by [Config]. check.go holds the rules that both
// apply to records and queries.
//
// Promises: an answer is ordered by (cosine descending, id ascending); an id
// is in an index at most once; no caller's text reaches a filter expression
// unescaped; every call to a server ends by a deadline.
package vecdb
