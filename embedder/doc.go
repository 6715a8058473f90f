// Package embedder turns videos into embeddings: the stream VIDEOS into the
// stream EMBEDDINGS, and requests of the gateway into answers.
//
// The way of a video, file by file:
//
//	run.go       what is opened, in which order, and why; and the way down
//	bulk.go      the stream's lane: event in, effect stored, then the acknowledgement
//	requests.go  the interactive lane: admitted at once or refused at once
//	pipeline.go  one video: check, fetch, collate, model, sum of the halves
//	resolve.go   frames that an event only names
//	queue.go     what waits for the model; form.go picks a batch out of it
//	batcher.go   one batch through the model, halved where the model refuses it
//	meanwhile.go what else is done while the model computes a batch of the stream
//	merge.go     rows of single videos become a batch
//	engine.go    the real model behind the interface Model; the warm-up
//	memory.go    what forward passes may take of the process's memory
//	health.go    the canary, and readiness
//
// What it promises:
//
//   - An event is acknowledged after its embedding, or its tombstone, is stored
//     under its sequence. Delivered again, it is found to be done and costs no
//     forward pass; an older event never replaces a newer one's embedding.
//   - Nothing is taken on without a slot. The stream waits for slots, requests
//     are refused as overloaded; neither lane can grow without bound.
//   - Requests go before the stream, but for one batch in nine; on a CPU they wait
//     for a ninth of a batch of the stream, on a GPU for all of it.
//   - A video that cannot be embedded fails alone: it is checked alone before it
//     shares a batch, and a batch that the model refuses is halved down to it.
//   - When a single row fails, the canary decides: if the device fails that too,
//     the video goes back to the stream and does not become a dead letter. If that
//     is an error of CUDA that stays, the process ends.
package embedder
