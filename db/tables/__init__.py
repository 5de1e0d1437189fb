"""All tables of the store, by the words of the product."""

from db.tables.base import *
from db.tables.dialogues import *
from db.tables.generations import *
from db.tables.library import *
from db.tables.models import *
from db.tables.ratings import *
from db.tables.training import *
from db.tables.work import *
