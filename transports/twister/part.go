package twister

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// part is a part of a frame or message that is posted. Its header is
//
//	flags  1 byte
//	id     8 bytes: the same for all parts, and for a frame whenever it is posted
//	index  uvarint
//	uuid   if hasName: its length, uvarint, and it
//
// and the rest is data.
type part struct {
	last  bool
	bare  bool // of a message
	id    [8]byte
	index int
	uuid  string // of the frame; only in the last part, and only where that has room
	data  []byte
}

const (
	isLast = 1 << iota
	isBare
	hasName
)

// A post in which the daemon finds a # or @ with a word behind it goes to the DHT under that word, where strangers see it. So these two are
// written as others are not.
var (
	hideMarks = strings.NewReplacer("#", "£", "@", "§")
	showMarks = strings.NewReplacer("£", "#", "§", "@")
)

func (p *part) text() string {
	flags := byte(0)
	if p.last {
		flags |= isLast
	}
	if p.bare {
		flags |= isBare
	}
	if p.uuid != "" {
		flags |= hasName
	}
	data := append([]byte{flags}, p.id[:]...)
	data = binary.AppendUvarint(data, uint64(p.index))
	if p.uuid != "" {
		data = append(binary.AppendUvarint(data, uint64(len(p.uuid))), p.uuid...)
	}
	data = append(data, p.data...)
	return piecePrefix + hideMarks.Replace(string(appendText(nil, data)))
}

// parsePart parses what part.text makes, and takes nothing else.
func parsePart(text string) (*part, error) {
	packed, ok := strings.CutPrefix(text, piecePrefix)
	if !ok || len(text) > maxPostText || strings.ContainsAny(packed, "#@") {
		return nil, errMalformed
	}
	data, err := parseText(showMarks.Replace(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	r := reader{rest: data}
	flags := r.byte()
	p := &part{last: flags&isLast != 0, bare: flags&isBare != 0}
	copy(p.id[:], r.bytes(len(p.id)))
	p.index = r.number(MaxPayload)
	if flags&hasName != 0 {
		p.uuid = string(r.bytes(r.number(maxUUID)))
	}
	p.data = r.rest
	if r.bad || flags&^(isLast|isBare|hasName) != 0 || !p.last && len(p.data) == 0 ||
		flags&hasName != 0 && (!p.last || p.bare || p.uuid == "" || !utf8.ValidString(p.uuid)) {
		return nil, errMalformed
	}
	return p, nil
}

// split returns the posts that carry a frame of that UUID, or a message, which has none.
func split(data []byte, bare bool, uuid string) []string {
	var texts []string
	for p := (part{bare: bare, id: frameID(uuid)}); !p.last; p.index++ {
		p.data = data[:min(len(data), bytesIn(maxPostText))]
		text := p.fit(len(data))
		data = data[len(p.data):]
		if p.last && !bare && len(uuid) <= maxUUID && utf8.ValidString(uuid) {
			if p.uuid = uuid; len(p.text()) <= maxPostText {
				text = p.text()
			}
		}
		texts = append(texts, text)
	}
	return texts
}

// fit cuts the data of the part until it fits a post, and returns that. It is the last if it takes all that is left.
func (p *part) fit(left int) string {
	for {
		p.last = len(p.data) == left
		text := p.text()
		over := len(text) - maxPostText
		if over <= 0 {
			return text
		}
		p.data = p.data[:len(p.data)-over/2-1] // at most 2 bytes of text hold less than one of data
	}
}

// frameID names a frame by its UUID.
func frameID(uuid string) (id [8]byte) {
	sum := sha256.Sum256([]byte(uuid))
	copy(id[:], sum[:])
	return id
}

// name names the frame for the reader: with its own UUID where that came along.
func (p *part) name(from string) string {
	if p.uuid != "" {
		return p.uuid
	}
	return from + "-" + hex.EncodeToString(p.id[:])
}
