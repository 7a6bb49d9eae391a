package ingest

import (
	"bytes"

	"github.com/fincart/courier-gateway/ingest/framing"
)

// mediaFault says what is wrong with the type of the body, "" for nothing.
func (c *call) mediaFault() string {
	h := &c.ctx.Request.Header
	return mediaFault(h.ContentType(), h.PeekAll("Content-Encoding"))
}

// mediaFault says why a body is not plain JSON in UTF-8 by its headers, "" if it is:
// application/json or any +json type, no other charset, no compression.
func mediaFault(contentType []byte, encodings [][]byte) string {
	if !jsonType(contentType) {
		return "the content-type must be application/json in UTF-8"
	}
	for _, e := range encodings {
		if len(e) > 0 && !framing.EqualFold(e, "identity") {
			return "the body must not be encoded; send it without content-encoding"
		}
	}
	return ""
}

// jsonType reports whether a content-type (RFC 9110, section 8.3) means JSON in
// UTF-8. Parameters other than charset are ignored.
func jsonType(contentType []byte) bool {
	media, rest, more := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	plus := bytes.LastIndexByte(media, '+')
	if !framing.EqualFold(media, "application/json") && (plus < 0 || !framing.EqualFold(media[plus:], "+json") || bytes.IndexByte(media, '/') < 1) {
		return false
	}
	for more {
		var parameter []byte
		parameter, rest, more = bytes.Cut(rest, []byte(";"))
		name, value, _ := bytes.Cut(bytes.TrimSpace(parameter), []byte("="))
		if framing.EqualFold(name, "charset") && !framing.EqualFold(bytes.Trim(value, `"`), "utf-8") {
			return false
		}
	}
	return true
}
