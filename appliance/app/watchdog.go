package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify tells the service manager how the appliance is, where there is one that
// listens (sd_notify(3)); elsewhere it does nothing.
func Notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("can't tell the service manager", "state", state, "error", err)
	}
}

// watchdog shows the service manager a sign of life as often as it wants, as long
// as alive says so: then a process that hangs is started again.
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
