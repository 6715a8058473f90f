// Command trainer makes corpora, trains the two models on them, and judges the
// result.
package main

import (
	"os"

	"videosim/shared/service"
	"videosim/trainer"
)

func main() { service.Main("trainer", new(trainer.CLI), os.Args[1:]) }
