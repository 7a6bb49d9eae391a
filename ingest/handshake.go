package ingest

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/jsontext"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

const (
	// maxEchoBytes bounds what is sent back in a handshake.
	maxEchoBytes = 1024
	// maxQuestionBytes bounds a body that may be a question.
	maxQuestionBytes = 8 << 10
	// maxQuestionMembers bounds the members of a body with a challenge: Slack's has three.
	maxQuestionMembers = 4
	// maxOriginBytes bounds the name of a sender: that of a host has 253 at most.
	maxOriginBytes = 255
)

// Handshake says which questions of a sender are answered, by which it finds out that it is
// wanted when its address is entered. A question says nothing else, so no answer to one
// acknowledges an event, not even one that the courier's mapping can't read.
type Handshake struct {
	// EchoQuery is a query parameter: a GET with it is answered with its value, as
	// plain text. "" for none.
	EchoQuery string `koanf:"echo_query"`
	// CloudEvents grants senders that ask by OPTIONS the right to post at the
	// courier's rate (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4).
	CloudEvents bool `koanf:"cloudevents"`
	// Probe answers a GET, a HEAD and a POST without a body with 200, if they have no header
	// for a signature or a credential: one that has was to be an event, and may have lost its
	// body to a redirect.
	Probe bool `koanf:"probe"`
	// Challenge is a member of a posted object: its text is the answer, as plain text or,
	// when ChallengeAnswer is "json", in an object under the same name. The object has at
	// most three others, which hold no objects or arrays, and none from which an event is
	// read, but for its type. "" for none.
	Challenge       string `koanf:"challenge"`
	ChallengeAnswer string `koanf:"challenge_answer"` // "json", or "text", as "" means
	// EchoHeader is a header: a GET, or a POST whose body is empty or {}, is answered with the
	// same header. "" for none.
	EchoHeader string `koanf:"echo_header"`
}

// Check adds what is wrong with h, each under its key behind path.
func (h *Handshake) Check(faults *event.Faults, path string) {
	if h.EchoHeader != "" {
		Header{Name: h.EchoHeader}.Check(faults, path+"echo_header")
	}
	faults.Check(slices.Contains([]string{"", "text", "json"}, h.ChallengeAnswer), path+"challenge_answer", `%q is neither "text" nor "json"`, h.ChallengeAnswer)
	faults.Check(h.ChallengeAnswer == "" || h.Challenge != "", path+"challenge_answer", "is set, but there is no challenge")
}

// question is one that a sender asks in a handshake.
type question uint8

const (
	noQuestion question = iota
	echoesQuery
	wantsGrant
	probes
	challenges
	echoesHeader
)

// String says how a question is answered, for people.
func (q question) String() string {
	return [...]string{
		"", "with the value of the query parameter", "with the right to post", "with 200, as a probe of the address",
		"with the challenge in the body", "with the same header",
	}[q]
}

// posts reports whether any question may come by POST.
func (h *Handshake) posts() bool { return h.Probe || h.Challenge != "" || h.EchoHeader != "" }

// asked returns the question that a request is, whose body is all there. What the mapping
// finds in the body is only looked at when that could be a question.
func (h *Handshake) asked(r signature.Request, scheme *signature.Scheme, isEvent func() bool) question {
	var headers int
	if h.EchoHeader != "" {
		_, headers = r.Header(h.EchoHeader)
	}
	switch string(r.Method()) {
	case fasthttp.MethodGet:
		switch {
		case h.EchoQuery != "" && queryOf(r).Has(h.EchoQuery):
			return echoesQuery
		case scheme.Shown(r):
		case headers > 0:
			return echoesHeader
		case h.Probe:
			return probes
		}
	case fasthttp.MethodHead:
		if h.Probe && !scheme.Shown(r) {
			return probes
		}
	case fasthttp.MethodOptions:
		if _, origins := r.Header("webhook-request-origin"); h.CloudEvents && origins > 0 {
			return wantsGrant
		}
	case fasthttp.MethodPost:
		return h.posted(r, scheme, headers > 0, isEvent)
	}
	return noQuestion
}

func (h *Handshake) posted(r signature.Request, scheme *signature.Scheme, echoes bool, isEvent func() bool) question {
	body := r.Body()
	if _, packed := r.Header("content-encoding"); packed > 0 || len(body) > maxQuestionBytes {
		return noQuestion
	}
	challenged := false
	if h.Challenge != "" && len(body) > 0 {
		_, challenged = challengeIn(body, h.Challenge)
	}
	switch {
	case echoes && saysNothing(body) && !isEvent():
		return echoesHeader
	case challenged && !isEvent():
		return challenges
	case h.Probe && len(body) == 0 && !echoes && !scheme.Shown(r):
		return probes
	}
	return noQuestion
}

// saysNothing reports whether a body is empty, or an object without members.
func saysNothing(body []byte) bool {
	text := bytes.Join(bytes.Fields(body), nil)
	return len(text) == 0 || string(text) == "{}"
}

func queryOf(r signature.Request) *fasthttp.Args {
	args := new(fasthttp.Args)
	args.ParseBytes(r.Query())
	return args
}

// challengeIn returns the text of a member of a JSON object, which has to be there once, and
// with few others, none of which holds an object or an array.
func challengeIn(body []byte, name string) (text string, ok bool) {
	s := jsontext.NewScanner(body)
	s.Space()
	if s.Peek() != '{' {
		return "", false
	}
	met, whole, members := 0, false, 0
	for more := s.Enter('}'); more; more = s.More('}') {
		if members++; members > maxQuestionMembers {
			return "", false
		}
		if s.Key() != name {
			if c := s.Peek(); c == '{' || c == '[' {
				return "", false
			}
			s.Skip()
			continue
		}
		if met++; s.Peek() != '"' {
			return "", false
		}
		text, whole = s.Text()
	}
	s.End()
	return text, met == 1 && whole && text != "" && len(text) <= maxEchoBytes && !s.Failed()
}

// handshake answers a request to the intake that is no POST: a handshake of its
// courier, or nothing that is expected here.
func (s *Server) handshake(c *call, name []byte) {
	c.table = s.couriers.active.Load()
	c.courier = c.table.find(name)
	asked := noQuestion
	if c.courier != nil {
		asked = c.courier.handshake.asked(c, c.courier.scheme, c.tells)
	}
	if asked == noQuestion {
		c.ctx.Response.Header.Set(fasthttp.HeaderAllow, "POST")
		s.refusals.refuse(c, c.refuse(methodNotAllowed, "events are sent by POST"))
		return
	}
	refusal := s.admit(c)
	if refusal == nil {
		refusal = reply(s, c, asked)
	}
	if refusal != replied {
		s.refusals.refuse(c, refusal)
	}
}

// replied is what a step returns that has answered a handshake: the request goes no
// further, and is not refused.
var replied = new(refusal)

// answerQuestion answers a posted handshake. It comes before the signature, because most
// are not signed.
func answerQuestion(s *Server, c *call) *refusal {
	if c.courier == nil || !c.courier.asks {
		return nil
	}
	asked := c.courier.handshake.asked(c, c.courier.scheme, c.tells)
	if asked == noQuestion {
		return nil
	}
	return reply(s, c, asked)
}

// reply answers a question, within the limits of what is not verified.
func reply(s *Server, c *call, asked question) *refusal {
	answers := [...]step{echoesQuery: echo, wantsGrant: grant, probes: answerProbe, challenges: repeat, echoesHeader: echoHeader}
	for _, next := range [...]step{(*Server).chargeUnverified, (*Server).takeSlot, answers[asked]} {
		if refusal := next(s, c); refusal != nil {
			return refusal
		}
	}
	s.metrics.count(c.courier, codeHandshake)
	return replied
}

// isEvent reports whether the body can be read as an event of its courier.
func (c *call) isEvent() bool {
	in := payload.Input{Body: c.body.Bytes, Headers: (*mappedHeaders)(c), Received: c.started.UTC()}
	var ev event.Event
	return len(c.courier.decoder.Decode(in, &ev, nil)) == 0 && ev.Ignored == ""
}

// tells reports whether the body has anything of an event of its courier, whether that can
// be read or not.
func (c *call) tells() bool { return c.isEvent() || c.courier.decoder.Tells(c.body.Bytes) }

// answerProbe answers a probe, with the body that the courier's own answers have.
func answerProbe(_ *Server, c *call) *refusal {
	own := &c.courier.success
	c.answer(fasthttp.StatusOK, own.ContentType, own.Body)
	return nil
}

// repeat sends back a challenge. It is for a program, as [echo] is.
func repeat(_ *Server, c *call) *refusal {
	h := &c.courier.handshake
	text, _ := challengeIn(c.Body(), h.Challenge)
	c.ctx.Response.Header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	if h.ChallengeAnswer != "json" {
		c.answer(fasthttp.StatusOK, plainText, []byte(text))
		return nil
	}
	b := jsontext.AppendString(append(c.out[:0], '{'), h.Challenge)
	c.out = append(jsontext.AppendString(append(b, ':'), text), '}')
	c.answer(fasthttp.StatusOK, "application/json", c.out)
	return nil
}

// echoHeader sends back a header.
func echoHeader(_ *Server, c *call) *refusal {
	name := c.courier.handshake.EchoHeader
	value, count := c.Header(name)
	if count != 1 || len(value) == 0 || len(value) > maxEchoBytes || !visible(value) {
		return c.refuse(badRequest, "the header to send back has to be there once, with 1 to "+strconv.Itoa(maxEchoBytes)+" visible characters")
	}
	c.ctx.Response.Header.SetBytesV(name, value)
	c.answer(fasthttp.StatusOK, "", nil)
	return nil
}

// echo sends back what the sender has put into the query. It is for a program:
// nothing that shows it may treat it as a page or a script.
func echo(_ *Server, c *call) *refusal {
	values := c.ctx.QueryArgs().PeekMulti(c.courier.handshake.EchoQuery)
	if len(values) != 1 || len(values[0]) > maxEchoBytes {
		return c.refuse(badRequest, "the value to send back has to be there once, with at most "+strconv.Itoa(maxEchoBytes)+" bytes")
	}
	c.ctx.Response.Header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	c.answer(fasthttp.StatusOK, plainText, values[0])
	return nil
}

// grant permits the sender to post.
func grant(_ *Server, c *call) *refusal {
	origins := c.ctx.Request.Header.PeekAll("WebHook-Request-Origin")
	if len(origins) != 1 || len(origins[0]) > maxOriginBytes || !visible(origins[0]) {
		return c.refuse(badRequest, "the header webhook-request-origin has to be there once and hold the name of a host")
	}
	rate := "*"
	if perSecond, limited := c.courier.limits.PerSecond(); limited {
		rate = strconv.FormatInt(int64(min(max(perSecond*60, 1), math.MaxInt32)), 10)
	}
	h := &c.ctx.Response.Header
	h.SetBytesV("WebHook-Allowed-Origin", origins[0])
	h.Set("WebHook-Allowed-Rate", rate)
	h.Set(fasthttp.HeaderAllow, "POST")
	c.answer(fasthttp.StatusOK, "", nil)
	return nil
}
