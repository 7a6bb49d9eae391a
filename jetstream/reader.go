package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/dedup"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// batchBytes bounds what one readFrom brings into memory, but for one message.
const batchBytes = 8 << 20

// msgIDHeader has the id by which the broker recognises copies.
const msgIDHeader = nats.MsgIdHdr

// reader reads stored messages. The codes of its errors are NotFound and
// DependencyDown.
type reader struct {
	conn     *nats.Conn
	external bool // replicas may lag behind their leader
}

// History reads what the stream holds, settled or not.
type History struct{ reader *reader }

// Load returns the stored message at seq, with neither Attempt nor AckTo. The error's code
// is NotFound when it is gone, and DependencyDown when the broker can't be asked.
func (h *History) Load(ctx context.Context, seq uint64) (event.Delivery, error) {
	return h.reader.Load(ctx, seq)
}

// ReadHistory returns up to limit messages in their order, the first at from or after it, as
// Load does. It may return fewer than there are, and none at the end.
func (h *History) ReadHistory(ctx context.Context, from uint64, limit int) ([]event.Delivery, error) {
	messages, err := h.reader.readFrom(ctx, eventsStream, from, limit)
	deliveries := make([]event.Delivery, len(messages))
	for i, m := range messages {
		seq, _ := storedSequence(m)
		deliveries[i] = decode(m.Header, m.Data, seq)
	}
	return deliveries, err
}

// Load is [History.Load].
func (r *reader) Load(ctx context.Context, seq uint64) (event.Delivery, error) {
	return r.loadBy(ctx, r.conn, seq)
}

// loadBy is Load over a connection of the caller's choice.
func (r *reader) loadBy(ctx context.Context, conn *nats.Conn, seq uint64) (event.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	m, err := getDirect(ctx, conn, eventsStream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err == nil {
		return decode(m.Header, m.Data, seq), nil
	}
	if r.external && event.CodeOf(err) == event.NotFound {
		return loadFromLeader(ctx, conn, seq) // a replica may lag behind
	}
	return event.Delivery{}, err
}

// loadFromLeader asks the one server that has all of the stream.
func loadFromLeader(ctx context.Context, conn *nats.Conn, seq uint64) (event.Delivery, error) {
	reply, err := conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+eventsStream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return event.Delivery{}, down("load", err)
	}
	var got struct {
		Error   *natsjs.APIError `json:"error"`
		Message struct {
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &got); err != nil {
		return event.Delivery{}, down("load", err)
	}
	if got.Error != nil {
		if got.Error.ErrorCode == natsjs.JSErrCodeMessageNotFound {
			return event.Delivery{}, event.Errorf(event.NotFound, "load", "sequence %d is not stored", seq)
		}
		return event.Delivery{}, down("load", got.Error)
	}
	header := nats.Header{}
	if len(got.Message.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			header = nats.Header{} // then the envelope has a fault
		}
	}
	return decode(header, got.Message.Data, seq), nil
}

// getDirect asks stream for one message.
func getDirect(ctx context.Context, conn *nats.Conn, stream string, request []byte) (*nats.Msg, error) {
	m, err := conn.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, request)
	if err != nil {
		return nil, down("load", err)
	}
	if _, ok := storedSequence(m); ok {
		return m, nil
	}
	if generated(m.Header, "Status") == "404" {
		return nil, event.Errorf(event.NotFound, "load", "stream %s has no such message", stream)
	}
	return nil, down("load", fmt.Errorf("stream %s answers %s %s", stream, m.Header.Get("Status"), m.Header.Get("Description")))
}

// Read returns up to limit events in their order, the first at from or after it. It may
// return fewer than there are, and none at the end.
func (r *reader) Read(ctx context.Context, from uint64, limit int) ([]integrity.Message, error) {
	messages, err := r.readFrom(ctx, eventsStream, from, limit)
	if err != nil {
		return nil, err
	}
	events := make([]integrity.Message, len(messages))
	for i, m := range messages {
		seq, _ := storedSequence(m)
		events[i] = integrity.Message{
			Subject: generated(m.Header, "Nats-Subject"), ID: m.Header.Get(msgIDHeader), StoredAt: storedAt(m),
			Delivery: decode(m.Header, m.Data, seq),
		}
	}
	return events, nil
}

// windowSource is the events' stream for the duplicate window.
type windowSource struct {
	*reader
	events func() natsjs.Stream
}

func (s windowSource) Last(ctx context.Context, removed bool) (last uint64, gone []uint64, err error) {
	var opts []natsjs.StreamInfoOpt
	if removed {
		opts = append(opts, natsjs.WithDeletedDetails(true))
	}
	info, err := s.events().Info(ctx, opts...)
	if err != nil {
		return 0, nil, down("read the end of the stream", err)
	}
	return info.State.LastSeq, info.State.Deleted, nil
}

func (s windowSource) Read(ctx context.Context, from uint64, limit int) ([]dedup.Message, error) {
	messages, err := s.readFrom(ctx, eventsStream, from, limit)
	if err != nil {
		return nil, err
	}
	ids := make([]dedup.Message, len(messages))
	for i, m := range messages {
		seq, _ := storedSequence(m)
		ids[i] = dedup.Message{Sequence: seq, ID: []byte(m.Header.Get(msgIDHeader)), StoredAt: storedAt(m)}
	}
	return ids, nil
}

// readFrom returns up to limit stored messages of stream in order, the first at
// from or after it. It may return fewer than there are, and none at the end.
func (r *reader) readFrom(ctx context.Context, stream string, from uint64, limit int) ([]*nats.Msg, error) {
	return r.readBatch(ctx, stream, fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, from, limit, batchBytes))
}

// FirstSince returns the sequence of the first event stored at t or later; ok is
// false when there is none.
func (r *reader) FirstSince(ctx context.Context, t time.Time) (seq uint64, ok bool, err error) {
	messages, err := r.readBatch(ctx, eventsStream, fmt.Appendf(nil, `{"start_time":%q,"batch":1}`, t.UTC().Format(time.RFC3339Nano)))
	if err != nil || len(messages) == 0 {
		return 0, false, err
	}
	seq, ok = storedSequence(messages[0])
	return seq, ok, nil
}

// readBatch asks stream for messages and collects them up to the status that
// ends the batch.
func (r *reader) readBatch(ctx context.Context, stream string, request []byte) ([]*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	sub, err := r.conn.SubscribeSync(r.conn.NewInbox())
	if err != nil {
		return nil, down("read", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := r.conn.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, request); err != nil {
		return nil, down("read", err)
	}
	var messages []*nats.Msg
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, down("read", err)
		}
		if _, ok := storedSequence(m); ok {
			messages = append(messages, m)
			continue
		}
		switch status := generated(m.Header, "Status"); status {
		case "204", "404": // the end of the batch, of the stream
			return messages, nil
		default:
			return nil, down("read", fmt.Errorf("stream %s answers %s %s", stream, status, m.Header.Get("Description")))
		}
	}
}

// down maps a failure to reach the broker.
func down(op string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		err = errors.New("no server answers for the stream")
	case errors.Is(err, nats.ErrReconnectBufExceeded): // we keep nothing for later, so this is what it means
		err = errors.New("not connected to the broker")
	}
	return &event.Error{Code: event.DependencyDown, Op: "broker " + op, Err: err}
}

// decode makes a Delivery of a stored message. The bytes of body become its own.
func decode(h nats.Header, body []byte, seq uint64) event.Delivery {
	d := event.Delivery{Sequence: seq}
	d.Body = body
	d.Fault = d.SetHeaders(h.Get)
	return d
}

// generated returns a header that the broker put on a message it reads for us.
// The broker appends its own behind those stored with the message, so that the
// last one counts, also when another client of a shared broker stored such a header.
func generated(h nats.Header, name string) string {
	if vs := h[name]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return ""
}

// storedSequence returns the sequence of a message that the broker reads for us;
// ok is false for a status instead of a message.
func storedSequence(m *nats.Msg) (seq uint64, ok bool) {
	seq, err := strconv.ParseUint(generated(m.Header, "Nats-Sequence"), 10, 64)
	return seq, err == nil && seq > 0
}

// storedAt returns when a message that the broker reads for us was stored, the zero time
// when that can't be read.
func storedAt(m *nats.Msg) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, generated(m.Header, "Nats-Time-Stamp"))
	return at
}
