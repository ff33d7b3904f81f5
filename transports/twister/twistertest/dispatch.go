package twistertest

import (
	"errors"
	"net/http"
	"time"
)

var (
	errObject    = refuse(-32600, "Invalid Request object")
	errMethod    = refuse(-32600, "Missing method")
	errMethodStr = refuse(-32600, "Method must be a string")
	errParams    = refuse(-32600, "Params must be an array")
	errTopLevel  = refuse(-32700, "Top-level object parse error")
	errSyntax    = refuse(-32700, "Parse error")
)

// outcome is what a call comes to: a result, or a *refusal.
type outcome struct {
	result  any
	refused error
}

// execute carries out a request or a batch of them, in order. It reports false when no answer comes.
func (s *server) execute(body string) (status int, answer string, ok bool) {
	value, err := parseJSON(body)
	if err != nil {
		status, answer = outcome{refused: errSyntax}.answer(nil)
		return status, answer, true
	}
	switch v := value.(type) {
	case map[string]any:
		out, ok := s.one(v)
		status, answer = out.answer(v["id"])
		return status, answer, ok
	case []any:
		answer, ok = s.batch(v)
		return http.StatusOK, answer, ok
	}
	status, answer = outcome{refused: errTopLevel}.answer(nil)
	return status, answer, true
}

// batch is a success whatever its members do.
func (s *server) batch(list []any) (answer string, ok bool) {
	answers := make([]any, 0, len(list))
	for _, member := range list {
		object, isObject := member.(map[string]any)
		out := outcome{refused: errObject}
		if isObject {
			if out, ok = s.one(object); !ok {
				return "", false
			}
		}
		answers = append(answers, out.envelope(object["id"]))
	}
	return string(appendJSON(nil, answers)) + "\n", true
}

// one carries out one call. It reports false when no answer comes: the daemon ended, the call never returns, or a fault is set.
func (s *server) one(object map[string]any) (out outcome, ok bool) {
	name, list, err := parseCall(object)
	if err != nil {
		return outcome{refused: err}, true
	}
	fault := s.d.faultOf(name)
	if fault == DropRequest || !s.sleep(s.d.pace(name)) {
		return out, false
	}
	var wait time.Duration
	hang := fault == Hang
	if !hang {
		out.result, out.refused = s.d.call(name, params{list: list, wait: &wait, hang: &hang})
	}
	if hang {
		<-s.stopped
	}
	return out, s.sleep(wait) && !hang && fault != DropAnswer
}

func parseCall(object map[string]any) (name string, list []any, err error) {
	if name, err = methodName(object); err != nil {
		return "", nil, err
	}
	given, present := object["params"]
	if !present || given == nil {
		return name, nil, nil
	}
	list, ok := given.([]any)
	if !ok {
		return "", nil, errParams
	}
	return name, list, nil
}

func methodName(object map[string]any) (string, error) {
	value, ok := object["method"]
	if !ok || value == nil {
		return "", errMethod
	}
	name, ok := value.(string)
	if !ok {
		return "", errMethodStr
	}
	return name, nil
}

func (o outcome) envelope(id any) fields {
	if refused, ok := errors.AsType[*refusal](o.refused); ok {
		return fields{{"result", nil}, {"error", fields{{"code", refused.code}, {"message", refused.message}}}, {"id", id}}
	}
	return fields{{"result", o.result}, {"error", nil}, {"id", id}}
}

// answer returns the HTTP status and body.
func (o outcome) answer(id any) (status int, body string) {
	status = http.StatusOK
	if refused, ok := errors.AsType[*refusal](o.refused); ok {
		switch refused.code {
		case -32600:
			status = http.StatusBadRequest
		case -32601:
			status = http.StatusNotFound
		default:
			status = http.StatusInternalServerError
		}
	}
	return status, string(appendJSON(nil, o.envelope(id))) + "\n"
}
