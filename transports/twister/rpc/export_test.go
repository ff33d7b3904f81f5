package rpc

// ParseAnswer lets the fuzz target reach the parser without a socket.
var ParseAnswer = parseAnswer
