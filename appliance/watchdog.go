package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify reports a state to the service manager, where there is one that listens
// (sd_notify(3)); elsewhere it does nothing.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("can't notify the service manager", "state", state, "error", err)
	}
}

// startWatchdog notifies the service manager as often as it wants while alive is true, so
// that it restarts a process that hangs, until stop is called.
func startWatchdog(log *slog.Logger, alive func() bool) (stop func()) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("can't read how often the service manager wants to be notified", "error", err)
	}
	if err != nil || limit == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watchdog(ctx, log, limit/3, alive)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func watchdog(ctx context.Context, log *slog.Logger, every time.Duration, alive func() bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if alive() {
				notify(log, daemon.SdNotifyWatchdog)
			}
		}
	}
}
