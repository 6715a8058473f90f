// Package trainer makes the two models: it trains them on a data folder,
// measures them, and writes the bundle that every service loads.
//
// The way of a training run, file by file:
//
//	config.go     TrainConfig; what the presets say about each stage
//	corpus.go     the data and who may learn from what
//	catalogue.go  where every video lies; sidecar.go keeps that between runs
//	labels.go     the judged pairs; problems.go what is wrong with the data
//	split.go      held-out pairs, no video on both sides
//	train.go      Train: the stages in order, the bundle at the end
//	from.go       the first weights, where they come from a bundle
//	pretrain.go   tag pretraining of one network
//	finetune.go   pair finetuning of late and early fusion; pairs.go has its step
//	towers.go     outputs of frozen encoders, computed once
//	stage.go      epochs, steps, and the choice of the best epoch
//	checkpoint.go the folder that a run can be resumed from; resume.go what is in it
//	world.go      several processes that train together
//	plan.go       the order of an epoch, which only the seed decides
//	loader.go     batches made ahead
//	loss.go       the focal tag loss and the pair loss
//	bertadam.go   the optimiser and its schedule
//	heldout.go    Spearman's coefficient on the held-out pairs
//	calibrate.go  the last measurements, the calibration (calibrate_fit.go), the manifest
//	metrics.go    metrics.jsonl, and the same for TensorBoard (package tfevents)
//	progress.go   what a person sees while it goes
//	report.go     the HTML page about a run or an evaluation; its charts in
//	              report_charts.go (drawn by package chart)
//
// The other commands: import.go (import_hf.go: a text encoder from a Hugging
// Face folder; import_reference.go: the published checkpoints), synth.go,
// evaluate.go (gateway.go where a gateway scores; lookup.go finds the videos),
// export.go, inspect.go; embed.go is the inference that two of them
// share, cli.go the command line.
//
// What it promises:
//
//   - A held-out video teaches nothing: neither its label nor its tags.
//   - The same config, data and machine give the same bundle on a CPU, bit for
//     bit, with any number of loaders.
//   - A run that was killed at any moment and resumed ends in the same bundle,
//     too, with the same metrics.
//   - A loss that is not finite ends the run before it changes a weight, with
//     the step and the videos of the batch, and leaves a checkpoint of the state
//     before.
//   - How many processes share the work, and in how many parts a batch goes
//     through a network, changes only rounding.
//   - Out is the old bundle or the new one, never a part of one.
//
// In a process of one's own:
//
//	result, err := trainer.Train(ctx, trainer.TrainConfig{Data: "data", Out: "bundle", Preset: "tiny"}, env)
//	fmt.Println(result.Fingerprint, result.Ensemble)
package trainer
