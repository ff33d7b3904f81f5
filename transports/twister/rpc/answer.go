package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// parseAnswer decodes an answer to the request id into result, unless that is nil, or returns what it says went wrong.
func parseAnswer(status int, body []byte, id int64, method string, result any) error {
	switch status {
	case http.StatusUnauthorized: // HTML, whatever the body says
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrHostNotAllowed
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
		ID     json.RawMessage `json:"id"`
	}
	if err := decode(body, &answer); err != nil || answer.Result == nil && answer.Error == nil {
		return notTwisterd(status, "no JSON-RPC answer")
	}
	if !isNull(answer.Error) {
		return parseError(status, answer.Error, method)
	}
	if want := strconv.FormatInt(id, 10); string(answer.ID) != want {
		return notTwisterd(status, "the answer of another request")
	}
	if status != http.StatusOK || result == nil {
		return unlessOK(status)
	}
	if _, may := result.(**TorrentStatus); isNull(answer.Result) && !may {
		return notTwisterd(status, "no result")
	}
	if err := decode(answer.Result, result); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrUnknownOutcome, ErrNotTwisterd, err)
	}
	return nil
}

// decode takes exactly one JSON value and keeps its numbers as they are written.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if rest := text[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return fmt.Errorf("%d bytes after the answer", len(rest))
	}
	return nil
}

func isNull(value json.RawMessage) bool {
	return len(value) == 0 || string(value) == "null"
}

func parseError(status int, text json.RawMessage, method string) error {
	var body struct {
		Code    *int   `json:"code"`
		Message string `json:"message"`
	}
	if err := decode(text, &body); err != nil || body.Code == nil {
		return notTwisterd(status, "an error without a code")
	}
	return &Error{Method: method, Status: status, Code: *body.Code, Message: body.Message, kind: classify(*body.Code, body.Message)}
}

// notTwisterd holds the outcome open where the daemon may have done its work and only its answer was spoilt. A 4xx comes before.
func notTwisterd(status int, what string) error {
	err := fmt.Errorf("%w: HTTP status %d with %s", ErrNotTwisterd, status, what)
	if status/100 != 4 {
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

func unlessOK(status int) error {
	if status == http.StatusOK {
		return nil
	}
	return notTwisterd(status, "a result")
}
