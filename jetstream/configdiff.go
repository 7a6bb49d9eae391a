package jetstream

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/jetstream/pull"
)

// errShape says that something on the broker has another shape than we need.
var errShape = errors.New("exists with another shape")

// difference is one field that is not as we want it.
type difference struct {
	field      string
	have, want any
	fixed      bool // can't be changed, or not without losing something
}

type differences []difference

// fixed reports whether one of them can't be changed.
func (ds differences) fixed() bool {
	return slices.ContainsFunc(ds, func(d difference) bool { return d.fixed })
}

func (ds differences) String() string {
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = fmt.Sprintf("%s is %v, want %v", d.field, d.have, d.want)
	}
	return strings.Join(texts, "; ")
}

func (ds *differences) compare(field string, have, want any, fixed bool) {
	if !reflect.DeepEqual(have, want) {
		*ds = append(*ds, difference{field, have, want, fixed})
	}
}

// allow compares a limit on what may be asked for: there need be none, or one that is
// not below what we ask for.
func allow[T int | time.Duration](ds *differences, field string, have, need T) {
	if have > 0 && have < need {
		*ds = append(*ds, difference{field, have, fmt.Sprintf("at least %v or none", need), false})
	}
}

// streamDiffs compares what the promises rest on. Where a stream is kept, how it is
// compressed and who else gets a copy of its messages is its server's affair.
func streamDiffs(have, want natsjs.StreamConfig) (ds differences) {
	ds.compare("retention", have.Retention, want.Retention, true)
	ds.compare("storage", have.Storage, want.Storage, true)
	ds.compare("persist_mode", have.PersistMode, want.PersistMode, true) // async acknowledges before it has written
	ds.compare("subjects", have.Subjects, want.Subjects, false)
	ds.compare("discard", have.Discard, want.Discard, false)
	ds.compare("max_bytes", have.MaxBytes, want.MaxBytes, false)
	ds.compare("max_msgs", have.MaxMsgs, want.MaxMsgs, false)
	ds.compare("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, false)
	ds.compare("max_age", have.MaxAge, want.MaxAge, false)
	ds.compare("max_msg_size", have.MaxMsgSize, want.MaxMsgSize, false)
	ds.compare("duplicate_window", have.Duplicates, want.Duplicates, false)
	ds.compare("num_replicas", have.Replicas, want.Replicas, false)
	ds.compare("allow_direct", have.AllowDirect, want.AllowDirect, false)
	ds.compare("no_ack", have.NoAck, want.NoAck, false)
	ds.compare("sealed", have.Sealed, want.Sealed, true)
	ds.compare("deny_purge", have.DenyPurge, want.DenyPurge, true)
	// Messages from elsewhere, and subjects that are not those which were published to.
	ds.compare("mirror", have.Mirror != nil, want.Mirror != nil, true)
	ds.compare("sources", len(have.Sources), len(want.Sources), false)
	ds.compare("subject_transform", have.SubjectTransform != nil, want.SubjectTransform != nil, false)
	return ds
}

// consumerDiffs compares what the promises rest on, with the replicas of the consumer's
// stream and how many messages are asked for at once. What an operator does for a
// while, as a pause, is no difference.
func consumerDiffs(have, want natsjs.ConsumerConfig, replicas, batch int) (ds differences) {
	ds.compare("ack_policy", have.AckPolicy, want.AckPolicy, true)
	ds.compare("deliver_policy", have.DeliverPolicy, want.DeliverPolicy, true)
	ds.compare("replay_policy", have.ReplayPolicy, want.ReplayPolicy, true)
	ds.compare("mem_storage", have.MemoryStorage, want.MemoryStorage, true)
	ds.compare("filter_subject", have.FilterSubject, want.FilterSubject, true)
	if len(have.FilterSubjects)+len(want.FilterSubjects) > 0 {
		ds.compare("filter_subjects", have.FilterSubjects, want.FilterSubjects, true)
	}
	ds.compare("headers_only", have.HeadersOnly, want.HeadersOnly, false)
	ds.compare("num_replicas", cmp.Or(have.Replicas, replicas), replicas, false) // 0 is as many as the stream
	ds.compare("inactive_threshold", have.InactiveThreshold, want.InactiveThreshold, false)
	ds.compare("ack_wait", have.AckWait, want.AckWait, false)
	ds.compare("max_deliver", have.MaxDeliver, want.MaxDeliver, false)
	if len(have.BackOff)+len(want.BackOff) > 0 {
		ds.compare("backoff", have.BackOff, want.BackOff, false)
	}
	ds.compare("max_ack_pending", have.MaxAckPending, want.MaxAckPending, false)
	ds.compare("priority_policy", have.PriorityPolicy, want.PriorityPolicy, false)
	allow(&ds, "max_batch", have.MaxRequestBatch, batch)
	allow(&ds, "max_expires", have.MaxRequestExpires, pull.Expires)
	allow(&ds, "max_bytes", have.MaxRequestMaxBytes, pull.MaxBytes)
	return ds
}
