package endpoint

// usage reads what a server counted, as far as it is written the usual way.
func (s *scanner) usage(u *usage) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "prompt_tokens":
			return s.whole(&u.Prompt)
		case "completion_tokens":
			return s.whole(&u.Completion)
		case "total_tokens":
			return s.whole(&u.Total)
		case "prompt_tokens_details":
			if s.null() {
				return true
			}
			u.Details = &cachedDetails{}
			return s.detail("cached_tokens", &u.Details.Cached)
		case "completion_tokens_details":
			if s.null() {
				return true
			}
			u.CompletionDetails = &reasoningDetails{}
			return s.detail("reasoning_tokens", &u.CompletionDetails.Reasoning)
		}
		return false
	})
}

// detail reads one count of an object that may hold others.
func (s *scanner) detail(want string, to **int) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case want:
			return s.whole(to)
		case "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens":
			_, ok := s.skip()
			return ok
		}
		return false
	})
}

// whole reads a count, or null. Other spellings of numbers are the decoder's.
func (s *scanner) whole(to **int) bool {
	if s.null() {
		return true
	}
	const mostDigits = 15
	n, from := 0, s.at
	for s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' && s.at-from < mostDigits {
		n = 10*n + int(s.b[s.at]-'0')
		s.at++
	}
	digits := s.at - from
	if digits == 0 || digits > 1 && s.b[from] == '0' {
		return false
	}
	if s.at < len(s.b) {
		switch s.b[s.at] {
		case ',', '}', ' ', '\t', '\n', '\r':
		default:
			return false
		}
	}
	*to = &n
	return true
}
