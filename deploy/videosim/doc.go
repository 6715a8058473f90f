// Package videosim is the suite in one process, and the operators' commands.
//
// The way through it:
//
//	up.go       starts NATS, the index and the services in the order of their
//	            dependence, and stops them in the reverse order
//	parts.go    starts and stops services in order
//	feed.go     publishes the videos of a data folder, as a producer would
//	demo.go     the main job from nothing: corpus, training, up, feed,
//	            queries, evaluation
//	story.go    its queries, pairs and evaluation
//	client.go   the demo's HTTP client: what a product backend would send
//	operate.go  publish, dead letters, and the doctor, for operators
//
// Every command is an ordinary function of a context, a config and a
// service.Env, so that the end-to-end tests call what the program calls.
package videosim
