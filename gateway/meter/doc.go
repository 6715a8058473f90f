// Package meter measures, beside the queries and never in their way, how good
// the answers are and whether the embeddings drift.
//
//	meter.go  a sample of live queries; the rounds; the gauges
//	truth.go  what an exact search would have answered
//	drift.go  norms, shift of the mean, missing modalities of a sample
//
// Truth comes from the stream EMBEDDINGS, which holds the latest embedding of
// every video: one paced pass over it answers all queries sampled since the
// pass before. That is a second opinion for either index: for Milvus, which is
// approximate, and for the index in memory, whose recall is 1 by construction
// as long as its replay was right.
package meter
