package app

import (
	"context"
	"fmt"

	"github.com/fincart/courier-gateway/appliance/config"
)

// refuseNewStampKey returns an error when stamp.key would be made although the queue
// holds events: they were signed with another one, which is lost.
func refuseNewStampKey(ctx context.Context, c config.Config, queue queueState) error {
	path, missing := c.MissingStampKey()
	if !missing {
		return nil
	}
	state, err := queue.State(ctx)
	if err != nil {
		return fmt.Errorf("ask whether the queue holds events that %s signed: %w", path, err)
	}
	if state.Messages == 0 {
		return nil
	}
	return fmt.Errorf("%s is gone, and the queue holds %d events that were signed with it, %d of them unprocessed: put it back from the backup. "+
		"To start without it make a new key, (umask 077; openssl rand -hex 32 > %s): the unprocessed events then become dead letters FORGED, "+
		"which can be replayed once the old key is listed in jetstream.stamp_keys behind the new one",
		path, state.Messages, state.Unprocessed(), path)
}
