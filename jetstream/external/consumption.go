package external

import (
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// unconsumedFor is for how long no process may ask for events before that is a problem:
// longer than the pause of one that is restarted or has just been given all it asked for.
const unconsumedFor = 10 * time.Second

// Consumption follows whether any process consumes. The zero value is ready; one caller at
// a time.
type Consumption struct {
	since            time.Time // of nothing; zero while a process asks
	delivered, floor uint64    // positions as last seen
	everSeen         bool
}

// Observe takes in the consumer as it is now, nil when there is none. It returns since when
// no process has asked for events and nothing was delivered or settled, zero when one does.
func (c *Consumption) Observe(info *natsjs.ConsumerInfo, now time.Time) time.Time {
	moved := true
	if info != nil {
		moved = !c.everSeen || info.Delivered.Consumer != c.delivered || info.AckFloor.Consumer != c.floor
		c.everSeen, c.delivered, c.floor = true, info.Delivered.Consumer, info.AckFloor.Consumer
	}
	switch {
	case info != nil && (info.NumWaiting > 0 || moved):
		c.since = time.Time{}
	case c.since.IsZero():
		c.since = now
	}
	return c.since
}

// Unconsumed says that no process consumes, "" when one does or may.
func Unconsumed(since time.Time, waiting uint64, now time.Time) string {
	if since.IsZero() || now.Sub(since) < unconsumedFor {
		return ""
	}
	return fmt.Sprintf("no service processes events since %s, %d wait: start one (serve --role process), or see the log and the health of those that run; "+
		"intake goes on until the queue is full", since.UTC().Format(time.RFC3339), waiting)
}
