package ingest

import "bytes"

func (c *call) mediaFault() refusal {
	h := &c.ctx.Request.Header
	return mediaFault(h.ContentType(), h.PeekAll("Content-Encoding"))
}

// mediaFault refuses a body that does not call itself plain JSON in UTF-8:
// application/json or any +json type, no other charset, no compression.
func mediaFault(contentType []byte, encodings [][]byte) refusal {
	if !jsonType(contentType) {
		return refusal{problem: notJSON, detail: "the content-type must be application/json in UTF-8"}
	}
	for _, e := range encodings {
		if len(e) > 0 && !equalFold(e, "identity") {
			return refusal{problem: notJSON, detail: "the body must not be encoded; send it without content-encoding"}
		}
	}
	return refusal{}
}

// jsonType reports whether a content-type (RFC 9110, section 8.3) means JSON in
// UTF-8. Parameters other than charset are ignored.
func jsonType(contentType []byte) bool {
	media, rest, more := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	plus := bytes.LastIndexByte(media, '+')
	if !equalFold(media, "application/json") && (plus < 0 || !equalFold(media[plus:], "+json") || bytes.IndexByte(media, '/') < 1) {
		return false
	}
	for more {
		var parameter []byte
		parameter, rest, more = bytes.Cut(rest, []byte(";"))
		name, value, _ := bytes.Cut(bytes.TrimSpace(parameter), []byte("="))
		if equalFold(name, "charset") && !equalFold(bytes.Trim(value, `"`), "utf-8") {
			return false
		}
	}
	return true
}

// equalFold compares with a lower-case word, ignoring the case of ASCII letters.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, ch := range b {
		if ch >= 'A' && ch <= 'Z' {
			ch |= 0x20
		}
		if ch != word[i] {
			return false
		}
	}
	return true
}
