package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestServers: what the leader says of the others becomes what operators read.
func TestServers(t *testing.T) {
	t.Parallel()
	info := &natsjs.StreamInfo{Cluster: &natsjs.ClusterInfo{Leader: "n0", Replicas: []*natsjs.PeerInfo{
		{Name: "follows", Current: true, Active: time.Second},
		{Name: "late", Active: time.Second, Lag: 9},
		{Name: "offline", Current: true, Offline: true, Active: time.Second},
		{Name: "silent", Current: true, Active: time.Minute},
		{Name: "never heard of"},
	}}}
	s := ServersOf(info, 6, nil)
	if s.Leader != "n0" || len(s.Replicas) != 5 || Current(s) != 2 {
		t.Errorf("%+v, %d current", s, Current(s))
	}
	said := strings.Join(Problems(s), "\n")
	for _, want := range []string{"3 of 6 servers hold the queue, there is no answer from offline, silent, never heard of", "late (9 behind)"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	alone := ServersOf(&natsjs.StreamInfo{}, 1, nil)
	if all := Problems(alone); len(all) > 0 || alone.Replicas != nil {
		t.Errorf("a server by itself: %v, %+v", all, alone)
	}
	if all := Problems(&event.QueueServers{Wanted: 3, Leader: "n0"}); len(all) != 1 {
		t.Errorf("a stream with too few replicas: %v", all)
	}
}

func TestConsumption(t *testing.T) {
	t.Parallel()
	var c Consumption
	now := time.Date(2026, 2, 26, 12, 0, 0, 0, time.UTC)
	consumer := func(waiting int, delivered, floor uint64) *natsjs.ConsumerInfo {
		return &natsjs.ConsumerInfo{
			NumWaiting: waiting, Delivered: natsjs.SequenceInfo{Consumer: delivered}, AckFloor: natsjs.SequenceInfo{Consumer: floor},
		}
	}
	for i, step := range []struct {
		info   *natsjs.ConsumerInfo
		idle   bool
		reason string
	}{
		{nil, true, "there is no consumer"},
		{consumer(0, 0, 0), false, "it was just made"},
		{consumer(0, 0, 0), true, "no process asks"},
		{consumer(1, 0, 0), false, "a pull is open"},
		{consumer(0, 5, 0), false, "something was delivered"},
		{consumer(0, 5, 3), false, "something was settled"},
		{consumer(0, 5, 3), true, "nothing moves"},
	} {
		now = now.Add(time.Second)
		if since := c.Observe(step.info, now); since.IsZero() == step.idle {
			t.Errorf("step %d: idle since %v, although %s", i, since, step.reason)
		}
	}
	since := c.Observe(consumer(0, 5, 3), now)
	if said := Unconsumed(since, 7, now); said != "" {
		t.Errorf("at once: %q", said)
	}
	if said := Unconsumed(since, 7, now.Add(unconsumedFor)); !strings.Contains(said, "7 wait") {
		t.Errorf("later: %q", said)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	api := func(code natsjs.ErrorCode) error {
		return fmt.Errorf("stream EVENTS: %w", &natsjs.APIError{ErrorCode: code, Description: "as the broker says"})
	}
	for err, want := range map[error]bool{
		nats.ErrAuthorization: true, os.ErrNotExist: true, api(codeOverlap): true, api(codeReplicasUnsupported): true,
		nats.ErrNoServers: false, context.DeadlineExceeded: false, api(codeOff): false, api(codeStorageResources): false, errors.New("other"): false,
	} {
		if got := Final(Explain(err, nil)); got != want {
			t.Errorf("%v: final is %v", err, got)
		}
	}
}
