// Package video holds what the suite knows of a video before any model sees
// it: its fields, the files it is stored in, and the batch that training and
// serving both build from it.
//
//	video.go     Video, and Frames in the three encodings that producers send
//	tfrecord.go  the record framing: Reader, Writer
//	indexed.go   a sound file by record number
//	scan.go      a file that may be damaged, read through once; recordfile.go
//	             reads a record again by the place that the scan has told
//	example.go   tf.Example in the challenge's schema: ParseExample, AppendExample
//	wire.go      tf.Example's protobuf, by hand
//	folder.go    a data folder: pointwise/, pairwise/, label.tsv, tag_list.txt
//	tags.go      tag ids to label columns
//	collate.go   videos to a Batch; frames.go and half.go are its frame part
//	synth.go     Synthesize, a corpus in the same schema; see its own comment
//
// Errors about bytes are Corrupt and carry file, record number and offset;
// errors about values are Invalid and carry the field.
package video
