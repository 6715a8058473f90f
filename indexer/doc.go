// Package indexer keeps the vector index in step with the stream EMBEDDINGS.
//
// The way of an embedding, file by file:
//
//	run.go     what is opened, in which order, and why
//	writer.go  the loop: a batch from the stream, one write, then the acknowledgements
//	plan.go    decoding and checking; one change a video, the newest
//	known.go   which sequence of a video the index holds already
//	rebuild.go what it knows of a rebuild under way
//	state.go   what readiness shows
//
// What it promises:
//
//   - A message is acknowledged after every reader of the index sees its effect.
//   - The sequence of a video in the index never goes down, and a deletion beats
//     every earlier upsert, whatever the order and number of deliveries.
//   - Only finite embeddings of the model's dimension and of norm 1 (±1e-3) enter;
//     everything else becomes a dead letter with a reason, and alone: its
//     neighbours in a batch are written.
//   - While the index does not answer, the batch in hand is kept and tried again,
//     in order, and nothing is pulled at a start: an outage, however long, makes
//     no dead letter. Readiness names the error.
//   - An index that is found empty, because its server has lost its data, is
//     filled again from the beginning of the stream.
//
// There is one writer a collection. For Milvus that is the one pinned consumer,
// with the others as hot standby; the exact index belongs to its process and is
// rebuilt from the stream at every start.
//
//	err := indexer.Run(ctx, cfg, indexer.Env{Env: env, Bus: shared, Index: exact})
package indexer
