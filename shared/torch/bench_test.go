package torch

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
)

// What one call costs when there is nothing to compute.
func BenchmarkOperation(b *testing.B) {
	e, err := Start(EngineConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	err = e.Do(context.Background(), func(s *Scope) error {
		NoGrad(func() {
			x := Zeros(s, Float32, CPU, 1)
			for b.Loop() {
				s.Sub(func(s *Scope) Tensor { Add(s, x, x); return Tensor{} })
			}
		})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// What it costs to get to the engine's thread and back.
func BenchmarkHop(b *testing.B) {
	e, err := Start(EngineConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for b.Loop() {
		if err := e.Do(context.Background(), func(*Scope) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// The matrix product that dominates BERT-base, in GFLOP/s.
func BenchmarkMatMul(b *testing.B) {
	e, err := Start(EngineConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	const rows, in, out = 2048, 768, 3072
	err = e.Do(context.Background(), func(s *Scope) error {
		NoGrad(func() {
			x, w := Full(s, 0.5, Float32, CPU, rows, in), Full(s, 0.5, Float32, CPU, out, in)
			for b.Loop() {
				s.Sub(func(s *Scope) Tensor { Linear(s, x, Weights{Weight: w}, After{}); return Tensor{} })
			}
		})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(2*rows*in*out*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// A chain of small products while every core has other work, as in the
// all-in-one program: what matters is that threads which wait let others run.
func BenchmarkBusyMachine(b *testing.B) {
	e, err := Start(EngineConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	var stop atomic.Bool
	defer stop.Store(true)
	for range runtime.NumCPU() {
		go func() {
			for !stop.Load() {
			}
		}()
	}
	err = e.Do(context.Background(), func(s *Scope) error {
		NoGrad(func() {
			x := Full(s, 0.01, Float32, CPU, 256, 256)
			for b.Loop() {
				s.Sub(func(s *Scope) Tensor {
					y := x
					for range 20 {
						y = MatMul(s, y, x)
					}
					return Tensor{}
				})
			}
		})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
