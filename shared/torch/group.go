package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"videosim/shared/errs"
)

// DefaultGroupTimeout bounds each call on a Group: longer than a rank may be
// busy with something else, such as writing a checkpoint.
const DefaultGroupTimeout = 10 * time.Minute

// GroupConfig says where the processes of a group meet and which of them this
// one is.
type GroupConfig struct {
	// Backend carries the tensors: "gloo", "nccl", or "auto", also "": nccl on a
	// GPU, gloo on the CPU.
	Backend string
	Device  Device
	// Rank is this process's number, 0 … Size-1.
	Rank, Size int
	// LocalRank counts the processes of one machine: which GPU is this one's.
	LocalRank int
	// Address and Port are where rank 0 listens until all have met.
	Address string
	Port    int
	// AgentStore: torchrun itself listens there, and rank 0 must not.
	AgentStore bool
	// Attempt counts torchrun's restarts, so that the members of one attempt do
	// not meet those of another.
	Attempt int
	// Timeout bounds the meeting and every later call; 0 means
	// DefaultGroupTimeout.
	Timeout time.Duration
}

// Group is a number of processes that compute together. All of them make the
// same calls in the same order, on their engines' threads. A call blocks until
// the ranks that it needs have made theirs. When one is lost, the others'
// calls fail with a *Error: at once if its connection broke, else when the
// timeout ends. After that the group is of no use.
type Group struct {
	h          C.vt_group
	rank, size int
}

// OpenGroup waits until all ranks have met.
func OpenGroup(cfg GroupConfig) (*Group, error) {
	nccl, err := cfg.check()
	if err != nil {
		return nil, err
	}
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = DefaultGroupTimeout
	}
	address, prefix := C.CString(cfg.Address), C.CString(fmt.Sprintf("/worker/attempt_%d", cfg.Attempt))
	defer C.free(unsafe.Pointer(address))
	defer C.free(unsafe.Pointer(prefix))
	g := &Group{rank: cfg.Rank, size: cfg.Size}
	message := C.vt_group_open(&C.vt_group_config{
		address: address, prefix: prefix, timeout_ms: C.int64_t(timeout.Milliseconds()),
		port: C.int32_t(cfg.Port), rank: C.int32_t(cfg.Rank), size: C.int32_t(cfg.Size),
		listen: C.bool(cfg.Rank == 0 && !cfg.AgentStore), nccl: C.bool(nccl),
	}, &g.h)
	if message != nil {
		defer C.free(unsafe.Pointer(message))
		return nil, errs.New(errs.Unavailable, "join the group at %s:%d as rank %d of %d: %s",
			cfg.Address, cfg.Port, cfg.Rank, cfg.Size, C.GoString(message))
	}
	return g, nil
}

func (c GroupConfig) check() (nccl bool, err error) {
	switch c.Backend {
	case "gloo":
	case "", "auto":
		nccl = c.Device == CUDA
	case "nccl":
		if nccl = true; c.Device != CUDA {
			return false, errs.Field("backend", "nccl carries tensors of GPUs only, and the device is %v: expected gloo or auto", c.Device)
		}
	default:
		return false, errs.Field("backend", "expected gloo, nccl or auto, found %q", c.Backend)
	}
	switch {
	case c.Size < 1:
		return nccl, errs.Field("size", "expected 1 process or more, found %d", c.Size)
	case c.Rank < 0 || c.Rank >= c.Size:
		return nccl, errs.Field("rank", "expected 0 to %d, found %d", c.Size-1, c.Rank)
	case c.Address == "":
		return nccl, errs.Field("address", "expected where rank 0 listens, found nothing")
	case c.Port < 1 || c.Port > 65535:
		return nccl, errs.Field("port", "expected 1 to 65535, found %d", c.Port)
	case c.Timeout < 0 || c.Timeout > 0 && c.Timeout < time.Millisecond:
		return nccl, errs.Field("timeout", "expected 1ms or more, found %v", c.Timeout)
	}
	return nccl, nil
}

// GroupFromEnv reads the variables that torchrun and Kubernetes' PyTorchJob
// set. Without WORLD_SIZE and RANK this process is alone, and ok is false.
func GroupFromEnv() (cfg GroupConfig, ok bool, err error) {
	if os.Getenv("WORLD_SIZE") == "" && os.Getenv("RANK") == "" {
		return cfg, false, nil
	}
	for _, v := range []struct {
		name     string
		to       *int
		low      int
		fallback string // where the variable may be absent
	}{
		{"WORLD_SIZE", &cfg.Size, 1, ""},
		{"RANK", &cfg.Rank, 0, ""},
		{"MASTER_PORT", &cfg.Port, 1, ""},
		{"LOCAL_RANK", &cfg.LocalRank, 0, "0"},
		{"TORCHELASTIC_RESTART_COUNT", &cfg.Attempt, 0, "0"},
	} {
		text := os.Getenv(v.name)
		if text == "" {
			text = v.fallback
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < v.low {
			return cfg, false, errs.Field(v.name, "expected a whole number of at least %d in this environment variable, found %q", v.low, text)
		}
		*v.to = n
	}
	if cfg.Rank >= cfg.Size {
		return cfg, false, errs.Field("RANK", "expected less than WORLD_SIZE, which is %d, found %d", cfg.Size, cfg.Rank)
	}
	if cfg.Port > 65535 {
		return cfg, false, errs.Field("MASTER_PORT", "expected at most 65535 in this environment variable, found %d", cfg.Port)
	}
	if cfg.Address = os.Getenv("MASTER_ADDR"); cfg.Address == "" {
		return cfg, false, errs.Field("MASTER_ADDR", "expected the host of rank 0 in this environment variable, found nothing")
	}
	switch agent := os.Getenv("TORCHELASTIC_USE_AGENT_STORE"); agent {
	case "True":
		cfg.AgentStore = true
	case "", "False":
	default:
		return cfg, false, errs.Field("TORCHELASTIC_USE_AGENT_STORE", "expected True or False in this environment variable, found %q", agent)
	}
	return cfg, true, nil
}

// Rank is this process's number.
func (g *Group) Rank() int { return g.rank }

// Size is the number of processes.
func (g *Group) Size() int { return g.size }

// SumAll replaces every tensor by its sum over all ranks. Small neighbours of
// one dtype travel together.
func (g *Group) SumAll(ts ...Tensor) {
	handles := handlesOf(ts)
	check("sum over the group", C.vt_group_sum(g.c(), unsafe.SliceData(handles), C.size_t(len(handles))))
}

// Broadcast overwrites every tensor by root's.
func (g *Group) Broadcast(root int, ts ...Tensor) {
	handles := handlesOf(ts)
	check("broadcast", C.vt_group_broadcast(g.c(), C.int(root), unsafe.SliceData(handles), C.size_t(len(handles))))
}

// Gather returns every rank's t, in the order of ranks and without history.
// The shapes must be equal.
func (g *Group) Gather(s *Scope, t Tensor) []Tensor {
	handles := make([]C.vt_tensor, g.size)
	check("gather", C.vt_group_gather(g.c(), t.c(), unsafe.SliceData(handles)))
	all := make([]Tensor, g.size)
	for i, h := range handles {
		all[i] = s.take("gather", C.vt_result{value: h})
	}
	return all
}

// Barrier waits until every rank is here.
func (g *Group) Barrier() { check("barrier", C.vt_group_barrier(g.c())) }

// Close leaves the group. Closing twice is harmless.
func (g *Group) Close() {
	if g.h != nil {
		check("close the group", C.vt_group_close(g.h))
		g.h = nil
	}
}

func (g *Group) c() C.vt_group {
	if g.h == nil {
		panic("torch: a group was used after it was closed")
	}
	return g.h
}

func handlesOf(ts []Tensor) []C.vt_tensor {
	handles := make([]C.vt_tensor, len(ts))
	for i, t := range ts {
		handles[i] = t.c()
	}
	return handles
}
