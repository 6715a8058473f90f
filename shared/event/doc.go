// Package event is the wire contract of the suite: what producers publish,
// what the embedder and the indexer pass on, and under which names.
//
//	videosim.proto  the messages; videosim.pb.go is generated from it
//	subject.go      streams, subjects, headers, and ids as subject tokens
//	decode.go       bytes and a Content-Type to a VideoEvent, strictly
//	validate.go     what a VideoEvent must satisfy, and the caps
//	video.go        VideoEvent to and from video.Video; references to frames
//	header.go       content type and trace context in headers
//	fault.go        errors in replies, there and back
//	publisher.go    Publisher, for producers; async.go is its window, named.go a name from outside
//
// A producer needs nothing of this package: a NATS client that publishes JSON
// to videos.<id> is enough. Every error about an event is errs.Invalid and
// names the field at fault as the producer wrote it.
package event
