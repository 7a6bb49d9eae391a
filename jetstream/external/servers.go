// Package external knows what is particular to a broker outside this process: which of its
// servers hold the stream of events and which our connections are on ([ServersOf]), whether
// they answer ([Probe]), whether any process consumes ([Consumption]), whether a start on it
// that failed is tried again ([Final]), and what its error says ([Explain]).
//
//	Probe ──STREAM.INFO over the publishing connection──▶ server ──▶ leader of the stream
//	  └─ Silent, within 2 s: publishes are refused at once       ◀── Answered ──┘
//
// The queue calls it; with an embedded broker nothing of it runs.
package external

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// silentReplica is after which silence a replica counts as missing: servers of a stream hear
// of each other every second.
const silentReplica = 5 * time.Second

// ServersOf returns which servers hold a stream, as its leader says, and which one each
// connection, by its role, is on. wanted is how many are to hold it.
func ServersOf(info *natsjs.StreamInfo, wanted int, conns map[string]*nats.Conn) *event.QueueServers {
	s := &event.QueueServers{Wanted: wanted, Connected: map[string]string{}}
	for role, conn := range conns {
		s.Connected[role] = ""
		if conn.IsConnected() {
			s.Connected[role] = conn.ConnectedServerName()
		}
	}
	if info.Cluster == nil { // a server by itself
		s.Leader = s.Connected["admin"]
		return s
	}
	s.Leader = info.Cluster.Leader
	for _, p := range info.Cluster.Replicas {
		unheard := p.Active > silentReplica || p.Active == 0 && !p.Current // never, by this leader
		s.Replicas = append(s.Replicas, event.QueueReplica{
			Name: p.Name, Missing: p.Offline || unheard, Current: p.Current, Lag: p.Lag,
		})
	}
	return s
}

// Current returns how many servers have all of the stream.
func Current(s *event.QueueServers) (n int) {
	if s.Leader != "" {
		n++
	}
	for _, r := range s.Replicas {
		if r.Current && !r.Missing {
			n++
		}
	}
	return n
}

// Problems says what is wrong with the servers while events are accepted, one line each.
func Problems(s *event.QueueServers) (all []string) {
	var missing, behind []string
	held := 1
	for _, r := range s.Replicas {
		switch {
		case r.Missing:
			missing = append(missing, r.Name)
			continue
		case !r.Current:
			behind = append(behind, fmt.Sprintf("%s (%d behind)", r.Name, r.Lag))
		}
		held++
	}
	if held < s.Wanted {
		which := ""
		if len(missing) > 0 {
			which = ", there is no answer from " + strings.Join(missing, ", ")
		}
		all = append(all, fmt.Sprintf("%d of %d servers hold the queue%s; start what is missing again, because with half of them gone no event is accepted", held, s.Wanted, which))
	}
	if len(behind) > 0 {
		all = append(all, "replicas of the queue lag behind their leader: "+strings.Join(behind, ", ")+"; they catch up by themselves, or their disk or network is too slow")
	}
	return all
}
