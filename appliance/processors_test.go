package main

import (
	"runtime"
	"testing"

	"github.com/fincart/courier-gateway/jetstream"
)

func TestAddProcessorWhereFlushesAreShared(t *testing.T) {
	embedded, external, each := jetstream.Defaults(), jetstream.Defaults(), jetstream.Defaults()
	external.Mode, each.Sync = jetstream.ModeExternal, jetstream.SyncAlways
	for _, test := range []struct {
		name string
		cfg  jetstream.Config
		env  string
		more int
	}{
		{"embedded, group flush", embedded, "", 1},
		{"the environment says how many", embedded, "2", 0},
		{"external broker", external, "", 0},
		{"each message flushed", each, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := runtime.GOMAXPROCS(processors)
			defer runtime.GOMAXPROCS(before)
			t.Setenv("GOMAXPROCS", test.env)
			for range 2 { // an appliance that starts again adds none
				addProcessor(test.cfg)
			}
			if n := runtime.GOMAXPROCS(0); n != processors+test.more {
				t.Errorf("%d processors, want %d", n, processors+test.more)
			}
		})
	}
}
