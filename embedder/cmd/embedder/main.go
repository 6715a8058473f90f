// Command embedder embeds the videos of the stream VIDEOS with one bundle.
package main
