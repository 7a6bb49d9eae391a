package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// loadTimeout bounds one read whose caller gave no bound.
const loadTimeout = 5 * time.Second

// Load returns the stored message at seq, whether settled or not, with neither
// Attempt nor AckTo. The error's code is NotFound when it is gone, and
// DependencyDown when the broker can't be asked.
func (b *Broker) Load(ctx context.Context, seq uint64) (event.Delivery, error) {
	return b.loadBy(ctx, b.admin, seq)
}

// loadBy is Load over a connection of the caller's choice.
func (b *Broker) loadBy(ctx context.Context, conn *nats.Conn, seq uint64) (event.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	m, err := getDirect(ctx, conn, eventsStream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err == nil {
		return decode(m.Header, m.Data, seq), nil
	}
	if b.server == nil && event.CodeOf(err) == event.NotFound {
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
			header = nats.Header{} // then the envelope's fault tells
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

// batchBytes bounds what one readFrom brings into memory, but for one message.
const batchBytes = 8 << 20

// readFrom returns up to limit stored messages of stream in order, the first at
// from or after it. It may return fewer than there are, and none at the end.
func (b *Broker) readFrom(ctx context.Context, stream string, from uint64, limit int) ([]*nats.Msg, error) {
	return b.readBatch(ctx, stream, fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, from, limit, batchBytes))
}

// firstSince returns the sequence of the first event stored at t or later; ok is
// false when there is none.
func (b *Broker) firstSince(ctx context.Context, t time.Time) (seq uint64, ok bool, err error) {
	messages, err := b.readBatch(ctx, eventsStream, fmt.Appendf(nil, `{"start_time":%q,"batch":1}`, t.UTC().Format(time.RFC3339Nano)))
	if err != nil || len(messages) == 0 {
		return 0, false, err
	}
	seq, ok = storedSequence(messages[0])
	return seq, ok, nil
}

// readBatch asks stream for messages and collects them up to the status that
// ends the batch.
func (b *Broker) readBatch(ctx context.Context, stream string, request []byte) ([]*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	sub, err := b.admin.SubscribeSync(b.admin.NewInbox())
	if err != nil {
		return nil, down("read", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.admin.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, request); err != nil {
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
		err = errors.New("nobody answers for the stream")
	case errors.Is(err, nats.ErrReconnectBufExceeded): // we keep nothing for later, so this is what it means
		err = errors.New("not connected to the broker")
	}
	return &event.Error{Code: event.DependencyDown, Op: "broker " + op, Err: err}
}
