package twister

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A direct message of Weft is the prefix and a header with data behind it, as text of seven bits a byte:
//
//	flags    1 byte
//	k        uvarint: the post's own, so that no two texts of a user are alike
//	receipt  if hasReceipt: epoch, 4 bytes; number, uvarint
//	view     if hasView: seen, uvarint; count, uvarint; then for each frame its distance from the one before it, uvarint, the
//	         length of a bit map, uvarint (0: all of it is there), and that bit map
//	piece    if hasPiece: epoch, 4 bytes; number, uvarint; back, uvarint; unless isWhole index and count less one, uvarints;
//	         if hasUUID the UUID's length, uvarint, and the UUID; and the rest is data
//
// The epoch counts the starts of the frames' sender, and is never that of the recipient (see epochFrom), so that no texts of two users are alike
// either. Inside of one, frames are numbered per recipient from 1 on.
const piecePrefix = "w1:"

// Flags of the header. A reader refuses others: they are of a version that it does not know.
const (
	hasReceipt   = 1 << iota // takes back what the recipient has sent
	hasView                  // of the receipt: also says what is here of the frames that it does not cover
	hasPiece                 // brings a piece of a frame
	isWhole                  // of the piece: it is the only one
	unreceipted              // of the piece: the sender waits for no receipt
	hasUUID                  // of the last piece: brings the frame's UUID too
	asks                     // of the piece: the sender has waited long for a receipt, and wants one with a view
	lastFlag     = asks
	knownFlags   = 2*lastFlag - 1
	plainReceipt = hasReceipt
	fullReceipt  = hasReceipt | hasView
)

const (
	// maxText is the length in bytes of the longest direct message that passes between any users at any k (contract, section 3).
	maxText = 1677

	// maxHeader is the longest header of a piece, with a receipt without a view: flags, k, receipt, piece.
	maxHeader = 1 + 4 + 4 + 4 + 4 + 4 + 2 + 2 + 2

	// maxNumber is the highest k, and the highest number of a frame: uvarints of four bytes.
	maxNumber = 1<<28 - 1

	// MaxPayload is the largest frame in bytes.
	MaxPayload = 256 << 10
)

// pieceSize is how much of a frame each piece but the last carries: 1437 bytes, 86 % of the message.
var pieceSize = bytesIn(maxText-len(piecePrefix)) - maxHeader

// maxPieces is how many the largest frame is cut into.
var maxPieces = (MaxPayload + pieceSize - 1) / pieceSize

// maxUUID is the longest UUID in bytes that is brought along.
const maxUUID = 128

// maxAhead bounds how many frames are under way to one recipient, and so how far ahead of what is complete a recipient looks.
const maxAhead = 32

var errMalformed = errors.New("malformed message")

// piece is a part of a frame.
type piece struct {
	epoch       uint32
	number      int // of the frame, from 1 on
	back        int // how far before number the first frame is that the sender still waits for a receipt of
	index       int
	count       int
	unreceipted bool
	asks        bool   // for a receipt with a view
	uuid        string // of the frame; only in the last piece, and only where that has room: posts are scarce, not their bytes
	data        []byte
}

// receipt says which frames were taken: all of an epoch up to a number.
type receipt struct {
	epoch  uint32
	number int
	view   *view
}

// view is what is here of the frames after the number of a receipt.
type view struct {
	seen   int // the highest k that has come
	frames []partial
}

// partial is what is here of one frame. A nil have stands for all of it; else its bits are the pieces, from the lowest bit of the
// first byte on.
type partial struct {
	number int
	have   []byte
}

func (p partial) has(index int) bool {
	return p.have == nil || index/8 < len(p.have) && p.have[index/8]>>(index%8)&1 == 1
}

// header is a direct message of Weft, parsed.
type header struct {
	k       int
	receipt *receipt
	piece   *piece
}

// text returns the direct message.
func (h *header) text() string {
	flags := byte(0)
	data := binary.AppendUvarint([]byte{0}, uint64(h.k))
	if r := h.receipt; r != nil {
		flags |= plainReceipt
		data = binary.AppendUvarint(binary.BigEndian.AppendUint32(data, r.epoch), uint64(r.number))
		if r.view != nil {
			flags |= hasView
			data = r.view.append(data, r.number)
		}
	}
	if p := h.piece; p != nil {
		flags |= hasPiece
		data = binary.AppendUvarint(binary.BigEndian.AppendUint32(data, p.epoch), uint64(p.number))
		data = binary.AppendUvarint(data, uint64(p.back))
		if p.count == 1 {
			flags |= isWhole
		} else {
			data = binary.AppendUvarint(binary.AppendUvarint(data, uint64(p.index)), uint64(p.count-1))
		}
		if p.unreceipted {
			flags |= unreceipted
		}
		if p.asks {
			flags |= asks
		}
		if p.uuid != "" {
			flags |= hasUUID
			data = append(binary.AppendUvarint(data, uint64(len(p.uuid))), p.uuid...)
		}
		data = append(data, p.data...)
	}
	data[0] = flags
	return string(appendText([]byte(piecePrefix), data))
}

// maxView bounds a view in bytes: it goes without a piece.
const maxView = 1024

// append appends the frames of the view that have room.
func (v *view) append(data []byte, number int) []byte {
	var list []byte
	count := 0
	for _, f := range v.frames {
		if len(list)+len(f.have)+8 > maxView {
			break
		}
		list = binary.AppendUvarint(list, uint64(f.number-number))
		list = append(binary.AppendUvarint(list, uint64(len(f.have))), f.have...)
		number = f.number
		count++
	}
	data = binary.AppendUvarint(data, uint64(v.seen))
	return append(binary.AppendUvarint(data, uint64(count)), list...)
}

// isPiece reports whether a text claims to be of Weft.
func isPiece(text string) bool { return strings.HasPrefix(text, piecePrefix) }

// parsePiece parses what header.text makes, and takes nothing else.
func parsePiece(text string) (*header, error) {
	packed, ok := strings.CutPrefix(text, piecePrefix)
	if !ok || len(text) > maxText {
		return nil, errMalformed
	}
	data, err := parseText(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	r := reader{rest: data}
	flags := r.byte()
	h := &header{k: r.number(maxNumber)}
	if flags&hasReceipt != 0 {
		h.receipt = r.receipt(flags)
	}
	if flags&hasPiece != 0 {
		h.piece = r.piece(flags)
	}
	switch {
	case r.bad, len(r.rest) > 0, flags&(hasReceipt|hasPiece) == 0, flags&^knownFlags != 0,
		flags&hasView != 0 && flags&hasReceipt == 0, flags&(isWhole|unreceipted|hasUUID|asks) != 0 && flags&hasPiece == 0:
		return nil, errMalformed
	}
	return h, nil
}

// piecesOf returns how many pieces a frame is cut into.
func piecesOf(frame []byte) int { return max(1, (len(frame)+pieceSize-1)/pieceSize) }

// pieceOf returns the data of one piece.
func pieceOf(frame []byte, index int) []byte {
	return frame[index*pieceSize : min(len(frame), (index+1)*pieceSize)]
}

// uuidOf returns the UUID to bring along in a piece: none but in the last, if it has room.
func uuidOf(frame []byte, index int, uuid string) string {
	if index != piecesOf(frame)-1 || len(uuid) > maxUUID || !utf8.ValidString(uuid) || len(pieceOf(frame, index))+2+len(uuid) > pieceSize {
		return ""
	}
	return uuid
}
