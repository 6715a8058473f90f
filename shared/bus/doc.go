// Package bus is the suite's NATS: one connection, the streams, the pull loop
// of the workers, and what ties publishing to searching.
//
//	config.go server.go bus.go  connect, or be the server; errors get their Kind
//	streams.go                  EnsureStreams: VIDEOS, EMBEDDINGS, DEAD
//	consumer.go pump.go         Consumer: messages come in continuously, Next takes what is there
//	message.go                  Ack and Fail: the table of package errs, applied
//	dead.go catcher.go          dead letters, also of workers that die
//	deadletters.go              list, show, requeue, drop
//	embeddings.go last.go       store an embedding unless a newer one is there; read the latest
//	progress.go trail.go        the indexed sequence
//	mark.go                     and how it comes over a restart, or begins again
//	notes.go restart.go         what a process leaves for the next; a consumer from the beginning
//	requests.go                 the interactive lane: embed.<fingerprint>
//	check.go                    what an operator should know about the server
//
// A worker:
//
//	c, err := b.Consume(ctx, bus.ConsumerConfig{Stream: event.StreamVideos, Durable: "embedder-" + fingerprint})
//	for {
//		batch, err := c.Next(ctx, 32)
//		…
//		for i, m := range batch {
//			if errs[i] != nil {
//				err = m.Fail(ctx, errs[i])
//			} else {
//				err = m.Ack(ctx) // only once the effect is durable
//			}
//		}
//	}
//
// Promises: no message is lost (a dead letter is stored before its message is
// let go), what is held is not delivered twice while its worker lives, and
// every wait ends.
package bus
