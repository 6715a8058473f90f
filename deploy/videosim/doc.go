// Package videosim is the suite in one process, and the operators' commands.
//
// The way through it:
//
//	up.go       starts NATS, the index and the services in the order of their
//	            dependence, and stops them in the reverse order
//	feed.go     publishes the videos of a data folder, as a producer would
//	demo.go     the main job from nothing: corpus, training, up, feed,
//	            queries, evaluation
//	ask.go      the demo's HTTP client: what a product backend would send
//	dead.go     lists, shows, sends back and drops dead letters
//	doctor.go   checks an outside NATS server and a bundle
//
// Every command is an ordinary function of a context, a config and a
// service.Env, so that the end-to-end tests call what the program calls.
package videosim
