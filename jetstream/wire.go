package jetstream

import (
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// client is the wire to an external broker: a connection of the nats.go client.
type client struct {
	conn     *nats.Conn
	messages sync.Pool // of *message
}

// message is what one publish over a client needs.
type message struct {
	msg    nats.Msg
	values [maxHeaders][1]string // what msg.Header's values point at
}

// newClient hears the answers to p's publishes on conn.
func newClient(conn *nats.Conn, p *publisher) (*client, error) {
	sub, err := conn.Subscribe(p.slots.inbox+".*", func(m *nats.Msg) {
		p.answered([]byte(m.Subject), len(m.Data) == 0 && m.Header.Get("Status") == "503", m.Data)
		p.handOn()
	})
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn}
	c.messages.New = func() any { return &message{msg: nats.Msg{Header: make(nats.Header, maxHeaders)}} }
	return c, sub.SetPendingLimits(-1, -1)
}

func (c *client) publish(s *slot, e *event.Envelope) error {
	m := c.messages.Get().(*message)
	m.msg.Subject, m.msg.Reply, m.msg.Data = subjectPrefix+e.Courier, s.reply, e.Body
	for i, h := range s.headers {
		m.values[i][0] = h[1]
		m.msg.Header[h[0]] = m.values[i][:]
	}
	err := c.conn.PublishMsg(&m.msg)
	m.msg.Subject, m.msg.Reply, m.msg.Data = "", "", nil
	clear(m.msg.Header)
	clear(m.values[:])
	c.messages.Put(m)
	return err
}
