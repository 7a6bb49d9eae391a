package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify reports a state to the service manager, where there is one that listens
// (sd_notify(3)); elsewhere it does nothing.
func Notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("can't notify the service manager", "state", state, "error", err)
	}
}

// watchdog notifies the service manager as often as it wants while alive is true, so
// that it restarts a process that hangs.
func watchdog(ctx context.Context, log *slog.Logger, alive func() bool) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil || limit == 0 {
		return err
	}
	tick := time.NewTicker(limit / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if alive() {
				Notify(log, daemon.SdNotifyWatchdog)
			}
		}
	}
}
