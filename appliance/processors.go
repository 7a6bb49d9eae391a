package main

import (
	"os"
	"runtime"

	"github.com/fincart/courier-gateway/jetstream"
)

// processors is how many the Go runtime found that this process may use.
var processors = runtime.GOMAXPROCS(0)

// addProcessor lets Go run one thread more than there are processors, where a group
// flush is all but always under way.
//
// A thread that waits in a system call keeps its turn to run Go until the runtime's
// monitor takes it away, and then has to wait for another one: a processor is idle for
// a part of each flush, and each flush ends late. One thread more makes up for it. What
// it is worth, and costs, stands in docs/decisions/0006-group-flush.md.
//
// GOMAXPROCS in the environment says otherwise. The runtime does not follow later
// changes of a container's limit any more.
func addProcessor(cfg jetstream.Config) {
	if os.Getenv("GOMAXPROCS") == "" && cfg.Mode == jetstream.ModeEmbedded && cfg.Sync == jetstream.SyncGroup {
		runtime.GOMAXPROCS(processors + 1)
	}
}
