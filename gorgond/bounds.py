"""How much may be given, where several parts check it or tell of it."""

WHOLE_MAX = 2**53 - 1  # of whole numbers that JavaScript is to read
REGISTERED = 10**9  # ids of registered users are numbers from here on

LIM_MAX = 1000  # documents asked for, or written, at a time
OFF_MAX = 1_000_000  # documents left out before them
CURSOR_MAX = 1000  # characters of where a list goes on
DOCUMENT_ID_MAX = 128  # characters
DEPTH_MAX = 32  # of what is nested in a document

TITLE_MAX = 1000  # characters in these fields of a note
URL_MAX = 8000
LOCATION_MAX = 1000
BODY_MAX = 1_000_000
FORM_BODY_MAX = 100_000  # of one that is typed into a form, whose escapes are nine bytes a character
KEYWORD_MAX, KEYWORDS_MAX = 200, 100  # characters in one; how many

EMAIL_MAX = 254  # characters, RFC 5321
PASSWORD_MIN, PASSWORD_MAX = 8, 256  # characters, as NIST SP 800-63B counts them: code points
NAME_MAX = 200
AGENT_MAX = 200  # of what a browser calls itself
LINK_MAX = 200  # characters of the token in a link of an e-mail
