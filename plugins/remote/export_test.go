package remote

// What crosses the border of the process, for fuzzing.
type Keeping = keeping

var (
	Account        = (*keeping).account
	NewDescription = newDescription
	CheckHandshake = checkHandshake
	ParseLine      = parseLine
)
