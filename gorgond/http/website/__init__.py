"""The website: everybody's notes, newest first and live; users who are logged in write, edit and delete notes, and see
where else they are logged in.

Every page is made here, on the server, and does without JavaScript. A form is answered with 303 to the page that shows
what it did, or with the form again and what is wrong. Reads go to store_get, as the API's do; what needs a user goes
the application's way, auth_get → web_get → app, to the routes of `gorgond.app.notes`.

    notes      reading, and one's own notes
    account    logging in, the account
    proving    a forgotten password, and links in e-mails
    inbox      notifications, and what one is sent; `inbox_live` has them as they come
    endpoints  those that notifications are sent to
    live       changes of notes for pages that are open
    visitor    who looks at a page
    rendering  pages from templates, static files
    fields     labels of fields, and messages that name them so
    site       its routes, and how errors look
"""

from gorgond.http.website.site import Website

__all__ = ["Website"]
