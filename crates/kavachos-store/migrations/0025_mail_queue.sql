-- How many mails wait: whoever queues one looks at this row instead of counting them all.

CREATE TABLE mail_queue (
  one {int} NOT NULL PRIMARY KEY CHECK (one = 1),
  waiting {int} NOT NULL
) {keyed};
INSERT INTO mail_queue (one, waiting) SELECT 1, COUNT(*) FROM mails;
