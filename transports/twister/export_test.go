package twister

// MaxPieces is how many pieces the largest frame has.
var MaxPieces = maxPieces

// PieceText returns the message of a piece, whose sender waits for up to 40 frames before it. Nil data stands for as much as a piece holds.
func PieceText(k int, epoch uint32, number, index, count int, data []byte) string {
	if data == nil {
		data = make([]byte, pieceSize)
	}
	h := header{k: k, piece: &piece{epoch: epoch, number: number, back: min(number-1, 40), index: index, count: count, data: data}}
	return h.text()
}
